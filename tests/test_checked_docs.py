"""The example of docs/checked.md runs as it stands, and its tables name what there is."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from burnish.data.tasks.own import TASKS
from burnish.rewards.checkers import CHECKERS

PAGE = (Path(__file__).parents[1] / "docs" / "checked.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "checked.md", "exec"), {})
    (printed,) = re.findall(r"It prints `(.*?)`", PAGE)
    assert capsys.readouterr().out.strip() == printed


def test_every_checker_and_task_is_described() -> None:
    assert set(re.findall(r"^\| `([\w-]+)[^|]*` \| [^|]+\|$", PAGE, re.M)) >= {*CHECKERS, "task"}
    rows = re.findall(r"^\| `(\w+)` \| `[^|]+` \| `[^|]+` \| (.+) \|$", PAGE, re.M)
    assert {name for name, _ in rows} == set(TASKS)
    for name, options in rows:
        known = {one.name: one.default for one in fields(TASKS[name])}
        assert {key: int(value) for key, value in re.findall(r"`(\w+)` \((\d+)\)", options)} == known
