"""The study as a whole, very small: its files, going on after a kill, more seeds, and what one failure costs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.cell import Found, known
from burnish.recipes.study.checked.cells import Cell, Checked
from burnish.recipes.study.checked.plan import FULL, SEARCH_SEED, Plan
from burnish.recipes.study.checked.study import checked_study, chosen, search_cells
from burnish.run import UserError

from .worlds import TINY

ONE = replace(TINY, seeds=1)
STUDY = checked_study


@pytest.fixture(scope="module")
def plan() -> Plan:
    return ONE


def cell(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / "cells" / f"reverse/{name}.json").read_text())


def test_every_cell_has_its_file_and_nothing_else_is_left(done: Path) -> None:
    names = ["pupil", *TINY.methods]
    files = [f"cells/reverse/seed-{seed}/{name}.json" for seed in range(1) for name in names]
    assert sorted(str(one.relative_to(done)) for one in done.rglob("cells/**/*.json")) == sorted(files)
    assert not (done / "work").exists()
    assert {one.name for one in (done / "pupils" / "reverse").iterdir()} == {"seed-0"}
    assert (done / "report.html").is_file()


def test_tokens_are_counted_as_they_are_sampled(done: Path) -> None:
    """2 rollouts of 16 completions of at most 12 tokens; the demonstrations of more SFT have 7 to 11 with their end."""
    for name in ("rloo", "reinforce_plus_plus", "rejection"):
        found = cell(done, f"seed-0/{name}")
        first, last = (point["tokens"] for point in found["curve"])
        assert 0 < first < last == found["tokens"] <= 2 * 16 * 12
    found = cell(done, "seed-0/sft")
    assert [point["rollouts"] for point in found["curve"]] == [1, 2]
    assert found["curve"][0]["tokens"] * 2 == pytest.approx(found["tokens"])
    assert 2 * 16 * 7 < found["tokens"] < 2 * 16 * 11
    assert [point["silent"] for point in found["curve"]] == [None, None]
    assert 0 <= cell(done, "seed-0/rloo")["curve"][0]["silent"] <= 1


def test_a_finished_cell_is_not_computed_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Cell] = []
    monkeypatch.setattr(pool, "kept", lambda one, *_: asked.append(one))
    summary = checked_study(done, ONE, resume=True, quiet=True)
    assert asked == []
    assert summary["seeds"] == {"reverse": 1}
    assert json.loads((done / "summary.json").read_text()) == json.loads(json.dumps(summary))


def test_another_plan_or_folder_is_refused(done: Path) -> None:
    with pytest.raises(UserError, match="exists and is not empty: use --resume"):
        checked_study(done, ONE, quiet=True)
    with pytest.raises(UserError, match=r"rollouts \(was 2, now 3\)"):
        checked_study(done, replace(ONE, rollouts=3), resume=True, quiet=True)


def test_a_study_goes_on_with_more_seeds_and_one_failure_costs_its_seed_alone(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second seed finds what the first one has found. The third one's pupil is not learned, and its methods are not
    tried."""
    asked: list[Cell] = []

    def compute(one: Cell, job: Checked, out: Path) -> Found | None:
        asked.append(one)
        if one.seed == 2:
            raise UserError("not learned")
        return known(replace(one, seed=0), job, out)

    monkeypatch.setattr(pool, "kept", compute)
    with pytest.raises(UserError, match=r"^reverse, seed 2, pupil: not learned; the other results are in "):
        checked_study(done, replace(TINY, seeds=3), jobs=1, resume=True, quiet=True)
    assert [(one.seed, one.method) for one in asked if one.seed == 2] == [(2, None)]
    assert [one.method for one in asked if one.seed == 1] == [None, *TINY.methods]
    found = json.loads((done / "summary.json").read_text())
    assert (found["seeds"], found["failures"]) == ({"reverse": 2}, {"reverse, seed 2, pupil": "not learned"})


def test_the_search_takes_the_best_rate_and_the_smaller_of_two_equals() -> None:
    """More SFT has rates of its own; of PPO nothing was found."""
    plan = replace(FULL, methods=("grpo", "sft", "ppo"))
    cells = search_cells("sort", plan)
    assert [one.rate for one in cells] == [3e-5, 1e-4, 3e-4, 3e-4, 1e-3, 3e-3, 3e-5, 1e-4, 3e-4]
    assert {(one.seed, one.task, one.searching) for one in cells} == {(1000, "sort", True)}
    right = dict(zip(cells, (1, 3, 2, 4, 4, 0), strict=False))
    found = {
        one: {"graded": {"samples": 1, "right": [1] * n + [0] * (9 - n), "length": 1.0, "entropy": 0.0}}
        for one, n in right.items()
    }
    assert chosen(found, plan) == {"grpo": 1e-4, "sft": 3e-4}
    assert search_cells("reverse", TINY) == []
    assert chosen({}, TINY) == dict.fromkeys(TINY.methods, 3e-4)


def test_a_failed_search_costs_its_method_and_a_search_without_a_pupil_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rates of GRPO fail on reverse, and the pupil for sort's search: brackets alone is complete."""

    def compute(one: Cell, job: Checked, out: Path) -> Found:
        if one == Cell("sort", SEARCH_SEED) or (one.task, one.method) == ("reverse", "grpo"):
            raise UserError("no")
        graded = {"samples": 2, "right": [1, 0], "length": 1.0, "entropy": 0.0}
        curve = [{"rollouts": 1, "tokens": 1.0, "seconds": 1.0, "silent": None, "accuracy": 0.5}]
        return {"graded": graded, "rate": one.rate, "tokens": 1.0, "seconds": 1.0, "curve": curve}

    monkeypatch.setattr(pool, "kept", compute)
    plan = replace(FULL, tasks=("reverse", "sort", "brackets"), seeds=1, methods=("grpo", "sft"), samples=2)
    with pytest.raises(UserError, match="sort, seed 1000, pupil: no"):
        checked_study(tmp_path / "out", plan, jobs=1, quiet=True)
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["tasks"] == ["brackets"]
    assert found["rates"]["brackets"] == {"grpo": 3e-5, "sft": 3e-4}
    assert set(found["failures"]) == {
        "sort, seed 1000, pupil",
        *(f"reverse, seed 1000, GRPO at {rate}" for rate in ("3e-05", "0.0001", "0.0003")),
    }
