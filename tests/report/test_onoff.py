"""The page of an invented study of on- and off-policy learning, read as a reader's browser would."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report.onoff import lag_name, late_lines, onoff_page, panels_of
from burnish.run import UserError

from .conftest import interval

TASKS = {"CartPole-v1": "CartPole", "Pendulum-v1": "Pendulum", "language": "Language"}
CORRECTIONS = {"none": "No correction", "product": "Their products"}
LEFT = {"CartPole-v1": 0.2, "language": 0.9}
"""The effective sample of whole episodes, 8 turns later."""


def learner(name: str, end: float) -> dict[str, Any]:
    row = {"name": name, "runs": 10, "end": interval(end, 9), "threshold": 475.0, "reached": 8, "median": 23400.0}
    return row | {"seconds": interval(12.0, 1.0)}


def study(**changes: Any) -> dict[str, Any]:
    """A study as `burnish study onoff` writes it."""
    curves = {
        axis: {
            name: [{"x": float(x), **interval(height + x, 5)} for x in (100, 200, 300)]
            for name, height in (("ppo", 50), ("dqn", 90))
        }
        for axis in ("steps", "seconds")
    }
    differences = [
        {"name": "dqn", "axis": "steps", "far": 50_000.0, "difference": interval(40.0, 5)},
        {"name": "dqn", "axis": "seconds", "far": 12.5, "difference": interval(-3.0, 5)},
    ]
    weights = [
        {"task": task, "lag": lag, "count": count, "runs": 10, "length": 0.9 * most, "log_largest": interval(1.5, 0.1)}
        | {"ess": interval(1.0 if lag == 0 or count == 1 else left, 0.05), "share": interval(0.1, 0.01)}
        | {"log_variance": interval(0.25, 0.01)}
        for (task, left), most in zip(LEFT.items(), (200, 50), strict=True)
        for lag in (0, 8)
        for count in (1, most)
    ]
    late = [
        {"task": task, "lag": lag, "correction": what, "runs": 10, "value": interval(base - cost, 0.2)}
        | {
            "difference": interval(-cost, 0.2) if lag else None,
            "gain": interval(1.0, 0.2) if what == "product" else None,
        }
        for task, base in (("CartPole-v1", 150.0), ("language", 1.0))
        for lag, what, cost in ((0, "none", 0.0), (8, "none", 1.5), (8, "product", 0.1))
    ]
    found: dict[str, Any] = {
        "plan": {"episodes": 256, "longest": 200, "held_out": 192, "steps": {"CartPole-v1": 50_000}},
        "tasks": TASKS,
        "labels": {"ppo": "PPO", "dqn": "DQN"},
        "corrections": CORRECTIONS,
        "efficiency": [
            {"task": "CartPole-v1", "curves": curves, "differences": differences}
            | {"learners": [learner("ppo", 300.0), learner("dqn", 410.0)]}
        ],
        "weights": weights,
        "late": late,
        "broken": [],
        "missing": [],
        "failures": {},
        "command": "burnish study onoff",
    }
    return found | changes


def written(folder: Path, found: dict[str, Any]) -> Page:
    (folder / "summary.json").write_text(json.dumps(found))
    return Page(onoff_page(folder))


def test_the_page_has_every_number_and_figure(tmp_path: Path) -> None:
    page = written(tmp_path, study(broken=[{"label": "CartPole, run 3", "reason": "it overflowed"}]))
    for part in (
        "410.0",
        "401.0 to 419.0",
        "475 in 8 of 10",
        "23,400",
        "20 %",
        "15 to 25 %",
        "−1.50",
        "−1.70 to −1.30",
    ):
        assert part in page.text, part
    assert "CartPole, run 3: its training broke down and is left out (it overflowed)." in page.text
    assert "burnish study onoff" in page.text
    for name in ("efficiency", "weights", "late"):
        assert all((tmp_path / f"{name}.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))


def test_a_figure_of_a_part_of_the_study_says_what_is_missing(tmp_path: Path) -> None:
    found = study(missing=["weights in Language, run 0"], weights=[], late=[])
    page = written(tmp_path, found)
    assert "Missing so far: weights in Language, run 0." in page.text
    assert "Missing so far: weights in Language, run 0." in (tmp_path / "efficiency.svg").read_text()
    assert not (tmp_path / "weights.svg").exists()
    assert "How unequal the weights are" not in page.text
    whole = tmp_path / "whole"
    whole.mkdir()
    written(whole, study())
    assert "Missing" not in (whole / "efficiency.svg").read_text()


def test_nothing_but_one_run(tmp_path: Path) -> None:
    bare = {"mean": 0.5, "low": None, "high": None}
    found = study()
    found["weights"] = [row | {"ess": bare, "share": bare} for row in found["weights"]]
    found["late"] = [row | {"value": bare, "difference": row["difference"] and bare} for row in found["late"]]
    page = written(tmp_path, found)
    assert "How unequal the weights are" in page.text


def test_the_fresh_training_begins_the_line_of_each_correction() -> None:
    rows = [row for row in study()["late"] if row["task"] == "language"]
    found = late_lines(study(), rows)
    assert [(one["name"], one["x"], one["y"]) for one in found] == [
        ("No correction", 0, 1.0),
        ("Their products", 0, 1.0),
        ("No correction", 8, -0.5),
        ("Their products", 8, 0.9),
    ]
    assert [one["name"] for one in late_lines(study(), rows[:1])] == ["No correction"]


def test_charts_are_described() -> None:
    panels = panels_of(study())
    assert [len(charts) for charts in panels.values()] == [2, 2, 2]
    spoken = panels["weights"][0].to_dict()["description"]
    assert spoken.startswith("CartPole: effective sample against actions that count. ")
    assert "8 turns: 0.20 at 200" in spoken
    assert [lag_name(lag) for lag in (0, 1, 8)] == ["0 turns", "1 turn", "8 turns"]


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json: give the folder of burnish study onoff"):
        onoff_page(tmp_path)
