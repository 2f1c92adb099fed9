"""Numbers of an invented study, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from burnish.recipes.study.shares.cells import Cell
from burnish.recipes.study.shares.summary import judge_of, summarise, table

from .worlds import TINY

PLAN = replace(TINY, seeds=2)


def cell(right: list[float], judged: int = 0) -> dict[str, Any]:
    return {"right": right, "alone": [0.5, 0.75], "judged": judged}


def test_accuracies_and_paired_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """Seed 1 has no cell without the judge, so the difference is of seed 0 alone, and has no interval. At ½ the judge
    should have given three labels in each seed, and one was not read."""
    found = {Cell(0, 0.0): cell([1, 0, 1, 0]), Cell(0, 0.5): cell([1, 1, 0.5, 1], 3)}
    found |= {Cell(1, 0.5): cell([0, 1, 1, 0], 2)}
    summary = summarise(PLAN, found, {0: 0.5, 1: 0.2}, {"seed 1, 0% of the judge": "no"}, None)
    rows = {row["share"]: row for row in summary["rows"]}
    assert [*rows] == [0.0, 0.5]
    assert (rows[0.0]["accuracy"]["mean"], rows[0.0]["difference"], rows[0.0]["seeds"]) == (0.5, None, 1)
    assert rows[0.5]["accuracy"]["mean"] == pytest.approx(5.5 / 8)
    assert rows[0.5]["difference"] == {"mean": 0.375, "low": None, "high": None}
    assert [rows[0.5][key] for key in ("people", "judged", "cost", "unread", "alone")] == [2, 3, 3.5, 1, 0.625]
    assert "seed 0, 25% of the judge" in summary["missing"]
    assert "seed 1, 0% of the judge" not in summary["missing"]
    table(summary)
    said = capsys.readouterr().out
    assert "+37.5" in said
    assert "50 %" in said


def test_the_judge_is_measured_on_what_it_labelled() -> None:
    """Of three labels one agrees with people, one does not, and one is undecided: a half."""
    found = judge_of({4: 0.9, 5: 0.1, 6: 0.5, 7: None})
    assert (found["asked"], found["labelled"], found["agreement"]["mean"]) == (4, 3, 0.5)
    assert judge_of({7: None}) == {"asked": 1, "labelled": 0, "agreement": None}
