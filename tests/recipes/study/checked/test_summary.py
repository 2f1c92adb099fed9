"""Means, gains and curves of invented cells, worked by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from burnish.evaluation.statistics import clustered_interval
from burnish.recipes.study.checked.cells import Cell
from burnish.recipes.study.checked.plan import FULL
from burnish.recipes.study.checked.summary import summarise, table

PLAN = replace(FULL, tasks=("reverse", "sort"), seeds=2, methods=("grpo", "sft"), samples=2)
RATES = {key: {"grpo": 0.0003, "sft": 0.0001} for key in PLAN.tasks}


def found(right: list[int], accuracies: tuple[float, ...] = (), silent: float | None = None) -> dict[str, Any]:
    curve = [
        {"rollouts": i + 1, "tokens": 10.0 * (i + 1), "seconds": float(i + 1), "silent": silent, "accuracy": a}
        for i, a in enumerate(accuracies)
    ]
    grades = {"samples": 2, "right": right, "length": 4.0, "entropy": 0.5}
    return {"graded": grades, "tokens": 20.0, "seconds": 2.0, "curve": curve}


def cells() -> dict[Cell, dict[str, Any]]:
    """3 prompts and 2 answers. The pupil is right in 2, GRPO in 4, more SFT in 3 of 6, for all tasks and seeds; of
    sort's second seed more SFT is missing."""
    out = {}
    for task in PLAN.tasks:
        for seed in range(2):
            out[Cell(task, seed)] = found([2, 0, 0])
            out[Cell(task, seed, "grpo", 3e-4)] = found([2, 1, 1], (0.4, 0.6 + 0.2 * seed), 0.25)
            out[Cell(task, seed, "sft", 1e-4)] = found([1, 1, 1], (0.5, 0.5))
    del out[Cell("sort", 1, "sft", 1e-4)]
    return out


def summary() -> dict[str, Any]:
    return summarise(PLAN, cells(), RATES, [], {"sort, seed 1, More SFT": "killed"}, "burnish study checked")


def test_a_seed_counts_where_every_method_is_there() -> None:
    result = summary()
    assert result["seeds"] == {"reverse": 2, "sort": 1}
    assert result["tasks"] == ["reverse", "sort"]
    assert list(result["results"]) == ["reverse", "sort", "all"]
    gone = {cell: one for cell, one in cells().items() if cell.task == "reverse"}
    alone = summarise(PLAN, gone, RATES, [], {}, None)
    assert (alone["tasks"], list(alone["results"])) == (["reverse"], ["reverse"])


def test_pass_at_k_and_gains_are_paired_by_prompt() -> None:
    """pass@1 is 1/3, 2/3 and 1/2. pass@2, with at least one right answer of two: 1/3, 1 and 1."""
    start, grpo, sft = summary()["results"]["reverse"]
    assert [one["name"] for one in (start, grpo, sft)] == ["start", "grpo", "sft"]
    assert [one["pass_1"]["mean"] for one in (start, grpo, sft)] == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert [one["pass_n"]["mean"] for one in (start, grpo, sft)] == pytest.approx([1 / 3, 1, 1])
    gains = np.array([[0, 0.5, 0.5]] * 2)
    assert grpo["pass_1_gain"] == pytest.approx(clustered_interval(gains).as_dict())
    assert sft["pass_1_gain"]["mean"] == pytest.approx(1 / 6)
    assert sft["pass_1_difference"]["mean"] == pytest.approx(-1 / 6)
    assert sft["pass_n_gain"]["mean"] == pytest.approx(2 / 3)
    assert "pass_1_difference" not in grpo
    assert "pass_1_gain" not in start
    assert (grpo["tokens"], grpo["seconds"], grpo["length"], grpo["entropy"]) == (20, 2, 4, 0.5)
    assert (grpo["silent_first"], grpo["silent_last"], sft["silent_last"]) == (0.25, 0.25, None)


def test_all_tasks_together_are_of_the_seeds_that_all_have() -> None:
    """Only seed 0 is complete in both tasks: 6 prompts."""
    start, grpo, _ = summary()["results"]["all"]
    assert start["pass_1"]["mean"] == pytest.approx(1 / 3)
    gains = np.array([[0, 0.5, 0.5, 0, 0.5, 0.5]])
    assert grpo["pass_1_gain"] == pytest.approx(clustered_interval(gains).as_dict())


def test_curves_begin_with_the_pupil_and_have_a_band_over_seeds() -> None:
    points = [one for one in summary()["curves"]["reverse"] if one["name"] == "grpo"]
    assert [(p["rollouts"], p["tokens"], p["seconds"]) for p in points] == [(0, 0, 0), (1, 10, 1), (2, 20, 2)]
    assert [p["mean"] for p in points] == pytest.approx([1 / 3, 0.4, 0.7])
    assert (points[1]["low"], points[1]["high"]) == pytest.approx((0.4, 0.4))
    assert points[2]["low"] == pytest.approx(0.6)
    assert points[2]["high"] == pytest.approx(0.8)


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table(summary())
    said = capsys.readouterr().out
    assert "mean of all tasks" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["start", "33.3", "33.3"] in rows
    assert max(map(len, said.splitlines())) <= 80
