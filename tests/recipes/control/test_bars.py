"""What is said of progress: bars on a terminal, lines without one."""

from pathlib import Path

import pytest

from burnish.recipes.control.classic import classic
from recipes.classic_worlds import HERE


def test_bars_count_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard error is no terminal, a line a group; --quiet says nothing, and standard output has nothing."""
    stairs = {"hidden": "8", "processes": 1, "env": f"{HERE}:Stairs-v0", "episodes": 3}
    classic(**stairs, algorithms="reinforce", runs=3, group=2, out=tmp_path / "run")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines()] == ["reinforce, runs 0 to 1", "reinforce, run 2"]
    classic(**stairs | {"quiet": True}, algorithms="reinforce", runs=1, out=tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
