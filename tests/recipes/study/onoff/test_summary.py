"""Numbers of an invented study, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from burnish.recipes.study.onoff.cells import Cell, every_cell
from burnish.recipes.study.onoff.summary import summarise, table, text_of, whole_episodes

from .worlds import TINY

PLAN = replace(TINY, runs=2, language_runs=1)
CARTPOLE = "CartPole-v1"


def learner(returns: list[float], speed: float = 1.0) -> dict[str, Any]:
    """Episodes of 100 steps; 100 steps take `speed` seconds."""
    ends = [100 * (i + 1) for i in range(len(returns))]
    clock = [[end, speed * end / 100, 9.0] for end in ends]
    return {"value": returns[-1], "failed": None, "seconds": clock[-1][1], "ends": ends, "returns": returns} | {
        "clock": clock
    }


def weighed(ess: float) -> dict[str, Any]:
    """Two anchors with this effective sample size at a lag, of which one has a tenth more."""
    rows = [
        {"anchor": anchor, "lag": lag, "count": count, "length": 40.0, "share": 0.1}
        | {"ess": 1.0 if lag == 0 else ess + more, "log_largest": 2.0, "log_variance": 0.5}
        for anchor, more in ((2, 0.0), (3, 0.1))
        for lag in (0, 1)
        for count in (1, 200)
    ]
    return {"rows": rows}


def late(value: float | None) -> dict[str, Any]:
    return {"value": value, "failed": "it broke" if value is None else None, "seconds": 1.0}


def invented() -> dict[Cell, dict[str, Any]]:
    return {
        Cell("efficiency", CARTPOLE, 0, "ppo"): learner([10, 20, 30]),
        Cell("efficiency", CARTPOLE, 1, "ppo"): learner([20, 20, 20]),
        Cell("efficiency", CARTPOLE, 0, "dqn"): learner([14, 24, 34], 2.0),
        Cell("efficiency", CARTPOLE, 1, "dqn"): learner([24, 24, 24], 2.0),
        Cell("weights", CARTPOLE, 0): weighed(0.3),
        Cell("weights", CARTPOLE, 1): weighed(0.5),
        Cell("late", CARTPOLE, 0): late(50.0),
        Cell("late", CARTPOLE, 1): late(40.0),
        Cell("late", CARTPOLE, 0, "none", 1): late(45.0),
        Cell("late", CARTPOLE, 1, "none", 1): late(38.0),
        Cell("late", CARTPOLE, 0, "product", 1): late(48.0),
        Cell("late", CARTPOLE, 1, "product", 1): late(None),
        Cell("late", "language", 0): late(0.5),
    }


def test_learners_and_their_differences() -> None:
    """DQN is 4 above PPO everywhere, paired by run, so the interval has no width; in time it has half the way."""
    (one,) = summarise(PLAN, invented(), {}, None)["efficiency"]
    assert [row["name"] for row in one["learners"]] == ["ppo", "dqn"]
    assert [row["end"]["mean"] for row in one["learners"]] == [25.0, 29.0]
    assert [row["reached"] for row in one["learners"]] == [0, 0]
    assert [row["seconds"]["mean"] for row in one["learners"]] == [3.0, 6.0]
    steps, seconds = one["differences"]
    assert (steps["name"], steps["axis"], steps["far"]) == ("dqn", "steps", 300.0)
    assert steps["difference"] == pytest.approx({"mean": 4.0, "low": 4.0, "high": 4.0})
    assert (seconds["axis"], seconds["far"]) == ("seconds", 3.0)  # PPO is over then; DQN's first episode ended at 2.
    assert one["curves"]["seconds"]["dqn"][-1]["x"] == 6.0
    assert one["curves"]["steps"]["ppo"][0]["mean"] == 15.0


def test_weights_are_means_over_anchors_and_then_runs() -> None:
    rows = summarise(PLAN, invented(), {}, None)["weights"]
    assert [(row["lag"], row["count"]) for row in rows] == [(0, 1), (0, 200), (1, 1), (1, 200)]
    assert rows[0]["ess"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert rows[3]["ess"]["mean"] == pytest.approx((0.35 + 0.55) / 2)
    assert 0.35 <= rows[3]["ess"]["low"] <= rows[3]["ess"]["high"] <= 0.55 + 1e-9
    assert rows[3]["runs"] == 2
    assert whole_episodes(rows) == {(CARTPOLE, 0): rows[1], (CARTPOLE, 1): rows[3]}


def test_late_data_beside_fresh_and_uncorrected() -> None:
    """A training that broke down is left out, and said so; one run has a mean and no interval."""
    found = summarise(PLAN, invented(), {}, None)
    rows = {(row["task"], row["lag"], row["correction"]): row for row in found["late"]}
    assert rows[CARTPOLE, 0, "none"]["difference"] is None
    assert rows[CARTPOLE, 0, "none"]["gain"] is None
    assert rows[CARTPOLE, 1, "none"]["difference"]["mean"] == -3.5
    assert rows[CARTPOLE, 1, "none"]["gain"] is None
    product = rows[CARTPOLE, 1, "product"]
    assert (product["runs"], product["value"]) == (1, {"mean": 48.0, "low": None, "high": None})
    assert product["difference"] == {"mean": -2.0, "low": None, "high": None}
    assert product["gain"] == {"mean": 3.0, "low": None, "high": None}
    assert (CARTPOLE, 1, "action") not in rows
    assert found["broken"] == [{"label": "CartPole, 1 turns late, their products, run 1", "reason": "it broke"}]


def test_what_is_missing() -> None:
    failures = {"weights in Language, run 0": "no"}
    found = summarise(PLAN, invented(), failures, None)
    absent = {cell.label for cell in every_cell(PLAN)} - {cell.label for cell in invented()} - {*failures}
    assert {*found["missing"]} == absent
    assert len(found["missing"]) == len(absent) > 0


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table(summarise(PLAN, invented(), {}, None))
    out = capsys.readouterr().out
    assert "DQN" in out
    assert "late data" in out
    assert text_of({"mean": -1.25, "low": -2.0, "high": 0.5}, 1) == "−1.2 [−2.0, 0.5]"
    assert text_of(None, 1) == ""
