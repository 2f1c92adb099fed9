"""What a tracker learns of the run that it follows."""

from pathlib import Path

import pytest

from burnish.run.trackers import Place


def test_a_run_is_called_as_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Place(tmp_path / "runs" / "dpo", {}).name == "dpo"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert Place(Path("."), {}).name == "here"
