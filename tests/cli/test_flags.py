"""Flags that many commands have."""

from pathlib import Path
from typing import Any

import pytest

from cli.arguments import options


def test_debug_in_a_file_shows_tracebacks_too(files: Path, tmp_path: Path, burnish: Any) -> None:
    """Once, with the error that the sentence comes from."""
    file = tmp_path / "c.yaml"
    file.write_text("debug: true\nsteps: 0\n")
    status, _, err = burnish(*options(files, tmp_path / "run"), "--config", file)
    assert status == 2
    assert err.count("UserError: steps must be at least 1, not 0") == 1
    assert err.startswith("Traceback (most recent call last)")
    file.write_text("debug: false\nsteps: 0\n")
    assert "Traceback" not in burnish(*options(files, tmp_path / "run"), "--config", file)[2]
    file.write_text("debug: true\nepisodes: 0\n")
    status, _, err = burnish("classic", "--config", file)
    assert (status, err.count("UserError: episodes must be at least 1, not 0")) == (2, 1)
    assert err.startswith("Traceback (most recent call last)")


@pytest.mark.parametrize("command", [["demo"], ["evaluate", "runs/none"], ["pretrain", "--out", "nowhere"]], ids=str)
@pytest.mark.parametrize(("flag", "value"), [("--threads", -1), ("--threads", 0), ("--seed", -1)])
def test_common_flags_are_checked_by_every_command(command: list[str], flag: str, value: int, burnish: Any) -> None:
    status, out, err = burnish(*command, flag, value)
    assert (status, out) == (2, "")
    assert err.startswith(f"burnish: {flag[2:]} must ")
    assert err.count("\n") == 1
