"""The example of docs/python.md runs as it stands."""

import re
import runpy
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    runpy.run_path("example.py", run_name="__main__")
    first, text, best = capsys.readouterr().out.splitlines()
    assert first == "4 4 2"
    assert "The film" in text
    assert re.fullmatch(r"The film was [01]\.0", best)
