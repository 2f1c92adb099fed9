"""The source and the program of docs/q_learning.md, and the true values that it prints beside the learned ones."""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "q_learning.md").read_text(encoding="utf-8")


def test_the_source_is_the_sources() -> None:
    shown = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    assert shown in (ROOT / "src" / "burnish" / "algorithms" / "q_learning.py").read_text(encoding="utf-8")


def test_the_true_values_are_those_that_the_program_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables of zeros stand for the learned ones, whose numbers are measured."""
    for name in ("slippery", "firm"):
        folder = tmp_path / "runs" / name / "groups" / "q_learning-00-04"
        folder.mkdir(parents=True)
        save_file({"0/policy/table": np.zeros((16, 4), np.float32)}, folder / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {})
    printed = [[float(x) for x in re.findall(r"[\d.]+", line)] for line in capsys.readouterr().out.splitlines()]
    rows = re.findall(r"^\| (?:[\d.]+|hole) \|.*$", PAGE, re.MULTILINE)
    cells = [[0.0 if x in ("hole", "goal") else float(x) for x in re.findall(r"[\d.]+|hole|goal", row)] for row in rows]
    assert len(printed) == len(cells) == 8
    assert [row[:4] for row in printed] == [[0.0] * 4] * 8
    assert [row[4:] for row in printed] == [row[4:] for row in cells]
