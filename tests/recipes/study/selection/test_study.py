"""The study as a whole, very small: its files, going on, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.cell import Found
from burnish.recipes.study.selection.cells import Cell, Replay
from burnish.recipes.study.selection.plan import Plan
from burnish.recipes.study.selection.study import selection_study
from burnish.run import UserError

from .worlds import TINY

PLAN = TINY
STUDY = selection_study


def cell(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / "cells" / "seed-0" / f"{name}.json").read_text())


def test_every_cell_has_its_file_and_the_page_is_there(done: Path) -> None:
    names = {one.stem for one in (done / "cells" / "seed-0").iterdir()}
    assert names == {"first"} | {f"{order}-{n}" for order in ("random", "disagreement", "renewed") for n in (8, 12)}
    assert not (done / "work").exists()
    assert all((done / name).is_file() for name in ("report.html", "selection.png", "selection.svg"))
    assert "Of fewer than two seeds there is no interval" in (done / "report.html").read_text()


def test_orders_begin_alike_and_follow_the_models(done: Path) -> None:
    """With a share of 0.2, the first four that are selected are the first four of the ranking that are not labelled."""
    first = cell(done, "first")
    rest = [row for row in first["ranked"] if row not in first["rows"]]
    assert sorted(first["ranked"]) == list(range(24))
    assert cell(done, "disagreement-8")["rows"] == [*first["rows"], *rest[:4]] == cell(done, "renewed-8")["rows"]
    assert cell(done, "disagreement-12")["rows"][:8] == cell(done, "disagreement-8")["rows"]
    assert cell(done, "random-12")["rows"][:4] == first["rows"]
    renewed = cell(done, "renewed-8")
    rest = [row for row in renewed["ranked"] if row not in renewed["rows"]]
    assert cell(done, "renewed-12")["rows"] == [*renewed["rows"], *rest[:4]]
    assert "ranked" not in cell(done, "renewed-12") | cell(done, "disagreement-8")


def test_accuracies_are_of_the_held_out_pairs(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    assert summary["missing"] == []
    found = {(row["order"], row["labels"]): row for row in summary["rows"]}
    right = cell(done, "renewed-12")["right"]
    assert len(right) == 8
    assert set(right) <= {0.0, 0.5, 1.0}
    assert found["renewed", 12]["accuracy"]["mean"] == pytest.approx(sum(right) / 8)
    difference = (sum(right) - sum(cell(done, "random-12")["right"])) / 8
    assert found["renewed", 12]["difference"]["mean"] == pytest.approx(difference)
    assert found["renewed", 4]["difference"] is None


def test_only_what_is_not_finished_is_computed_and_again_the_same(done: Path, plan: Plan) -> None:
    lost = [done / "cells" / "seed-0" / f"{name}.json" for name in ("renewed-8", "renewed-12")]
    before = [json.loads(file.read_text()) for file in lost]
    kept = {file: file.stat().st_mtime_ns for file in (done / "cells" / "seed-0").iterdir() if file not in lost}
    for file in lost:
        file.unlink()
    selection_study(done, plan, jobs=1, resume=True, quiet=True)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    after = [json.loads(file.read_text()) for file in lost]
    assert [one | {"seconds": 0} for one in after] == [one | {"seconds": 0} for one in before]


def test_other_sizes_are_refused(done: Path, plan: Plan) -> None:
    with pytest.raises(UserError, match="exists and is not empty: use --resume"):
        selection_study(done, plan, quiet=True)
    with pytest.raises(UserError, match=r"begun with another config, .*first"):
        selection_study(done, replace(plan, first=5), resume=True, quiet=True)


def test_without_the_models_that_select_nothing_else_is_computed(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Cell] = []

    def kept(one: Cell, job: Replay, out: Path) -> Found:
        asked.append(one)
        raise UserError("no")

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(UserError, match="nothing was computed: seed 0, the first 4 labels: no"):
        selection_study(tmp_path / "out", plan, jobs=1, quiet=True)
    assert asked == [Cell(0, 4)]
