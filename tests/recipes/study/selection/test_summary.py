"""Numbers of an invented study, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from burnish.recipes.study.selection.cells import Cell
from burnish.recipes.study.selection.summary import stages, summarise, table, text_of

from .worlds import TINY

PLAN = replace(TINY, seeds=2)


def cell(right: list[float]) -> dict[str, Any]:
    return {"right": right, "alone": [0.5, 0.75]}


def test_cells_come_in_the_order_in_which_they_are_needed() -> None:
    every = stages(PLAN)
    assert every[0] == [Cell(0, 4), Cell(1, 4)]
    assert [len(stage) for stage in every] == [2, 6, 6]
    done = {*every[0]}
    for stage in every[1:]:
        assert all(one.before(PLAN) in done for one in stage)
        done |= {*stage}


def test_accuracies_and_paired_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """Seed 1 lacks a random cell, so the difference is of seed 0 alone, and has no interval."""
    found = {Cell(0, 4): cell([1, 0, 1, 0]), Cell(1, 4): cell([1, 1, 1, 0])}
    found |= {Cell(0, 8, "random"): cell([1, 1, 0.5, 0]), Cell(0, 8, "renewed"): cell([1, 1, 1, 1])}
    found |= {Cell(1, 8, "renewed"): cell([0, 1, 1, 0])}
    summary = summarise(PLAN, found, {"seed 1, random, 8 labels": "no"}, None)
    rows = {(row["order"], row["labels"]): row for row in summary["rows"]}
    assert [row["accuracy"]["mean"] for key, row in rows.items() if key[1] == 4] == [0.625] * 3
    assert rows["renewed", 8]["accuracy"]["mean"] == 0.75
    assert rows["renewed", 8]["accuracy"]["low"] < 0.75 < rows["renewed", 8]["accuracy"]["high"]
    assert rows["renewed", 8]["difference"] == {"mean": 0.375, "low": None, "high": None}
    assert (rows["random", 8]["seeds"], rows["random", 8]["difference"], rows["random", 8]["alone"]) == (1, None, 0.625)
    assert ("disagreement", 8) not in rows
    assert "seed 0, disagreement, 8 labels" in summary["missing"]
    assert "seed 1, random, 8 labels" not in summary["missing"]
    table(summary)
    assert "+37.5" in capsys.readouterr().out


def test_shares_are_in_percent() -> None:
    assert text_of({"mean": -0.0123, "low": -0.02, "high": 0.01}, signed=True) == "−1.2 [−2.0, +1.0]"
    assert text_of({"mean": 0.5, "low": None, "high": None}) == "50.0"
    assert text_of(None) == ""
