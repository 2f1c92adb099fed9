"""The study as a whole, very small: its files, going on, what is refused, and what is said of what is missing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from burnish.recipes.study import pool
from burnish.recipes.study.cell import Found, known
from burnish.recipes.study.frontier.cells import Cell, Frontier
from burnish.recipes.study.frontier.plan import FIXED, Plan
from burnish.recipes.study.frontier.study import frontier_study
from burnish.run import UserError, read_jsonl
from burnish.training.loop import Interrupted

from ..worlds import cell, refuses_others
from .worlds import TINY

PLAN = TINY
STUDY = frontier_study


def test_every_cell_has_its_file_and_nothing_else_is_left(done: Path) -> None:
    files = sorted(str(one.relative_to(done / "cells")) for one in done.rglob("cells/**/*.json"))
    assert files == [
        "seed-0/best_of_n.json",
        "seed-0/dpo-0.1.json",
        "seed-0/ppo-3.json",
        "seed-0/reward.json",
        "start.json",
    ]
    assert not (done / "work").exists()
    assert (done / "start" / "model" / "config.json").is_file()
    assert (done / "rewards" / "seed-0" / "config.json").is_file()
    assert all((done / name).is_file() for name in ("report.html", "frontier.png", "frontier.svg"))


def test_methods_read_the_same_pairs_and_never_the_scores(done: Path) -> None:
    pairs, feedback = (read_jsonl(done / "start" / f"{name}.jsonl") for name in ("pairs", "feedback"))
    assert len(pairs) == cell(done, "start")["pairs"] > 0
    assert len(feedback) == 2 * len(pairs)
    assert {key for one in pairs for key in one} == {"prompt", "chosen", "rejected"}
    chosen = [one["completion"] for one in feedback if one["label"]]
    assert chosen == [one["chosen"] for one in pairs]
    prompts = {one["prompt"] for one in read_jsonl(done / "start" / "prompts.jsonl")}
    held = {one["prompt"] for one in read_jsonl(done / "start" / "held.jsonl")}
    assert {one["prompt"] for one in pairs} <= prompts
    assert not held & prompts


def test_points_are_measured_on_the_way(done: Path) -> None:
    dpo, ppo = cell(done, "seed-0/dpo-0.1"), cell(done, "seed-0/ppo-3")
    for found in (dpo, ppo):
        assert [point["step"] for point in found["points"]] == [1, 2]
        assert all(len(point["gold"]) == len(point["kl"]) == 12 for point in found["points"])
        assert found["diverged"] is None
        assert found["learned"] > 0
    assert (dpo["sampled"], ppo["sampled"] > 0) == (0, True)
    (start,) = cell(done, "seed-0/reward")["points"]
    assert start["kl"] == [0.0] * 12
    assert dpo["points"][0]["kl"] != dpo["points"][1]["kl"]


def test_a_finished_cell_is_not_computed_again_and_one_seed_has_no_interval(
    done: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Cell] = []
    monkeypatch.setattr(pool, "kept", lambda one, *_: asked.append(one))
    summary = frontier_study(done, plan, resume=True, quiet=True)
    assert asked == []
    assert summary["missing"] == []
    assert all(one["low"] is None for line in summary["lines"].values() for one in line)
    assert "Of fewer than two seeds there is no interval" in (done / "report.html").read_text()


def test_another_grid_other_constants_or_other_inputs_are_refused(done: Path, plan: Plan) -> None:
    with pytest.raises(UserError, match="exists and is not empty: use --resume"):
        frontier_study(done, plan, quiet=True)
    with pytest.raises(UserError, match=r"begun with another config, .*grid"):
        frontier_study(done, replace(plan, grid=plan.grid | {"dpo": (0.2,)}), resume=True, quiet=True)
    refuses_others(lambda: frontier_study(done, plan, resume=True, quiet=True), done, FIXED)


def test_an_interrupted_study_says_what_is_missing_and_goes_on(
    done: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second seed finds what the first has found; Ctrl-C is pressed at its PPO."""
    stop = [True]

    def kept(one: Cell, job: Frontier, out: Path) -> Found | None:
        if one.method == "ppo" and stop[0]:
            raise KeyboardInterrupt
        found = known(replace(one, seed=0), job, out)
        file = out / "cells" / f"{one.name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found))
        return found

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(Interrupted, match="keeps the finished cells"):
        frontier_study(done, replace(plan, seeds=2), jobs=1, resume=True, quiet=True)
    found = json.loads((done / "summary.json").read_text())
    assert found["missing"] == ["seed 1, PPO, KL target 3", "seed 1, Best of n"]
    assert found["seeds"] == {"dpo": 2, "ppo": 1, "best_of_n": 1}
    assert "Missing so far: seed 1, PPO, KL target 3 and seed 1, Best of n." in (done / "report.html").read_text()
    stop[0] = False
    found = frontier_study(done, replace(plan, seeds=2), jobs=1, resume=True, quiet=True)
    assert (found["missing"], found["seeds"]["ppo"]) == ([], 2)
    assert found["lines"]["dpo"][-1]["low"] is not None


def test_a_reward_model_that_diverged_leaves_out_what_needs_it_and_nothing_else(
    done: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def kept(one: Cell, job: Frontier, out: Path) -> Found:
        asked.append(one.name)
        found = cell(done, one.name)
        return found | {"diverged": 1} if one.name == "seed-0/reward" else found

    monkeypatch.setattr(pool, "kept", kept)
    found = frontier_study(tmp_path / "out", plan, jobs=1, quiet=True)
    assert asked == ["start", "seed-0/reward", "seed-0/dpo-0.1"]
    assert (found["missing"], found["failures"]) == ([], {})
    page = (tmp_path / "out" / "report.html").read_text()
    assert "reward model, seed 0, diverged at step 1" in page
    assert "because their reward model diverged: seed 0, PPO, KL target 3; seed 0, Best of n." in page


def test_a_failed_start_computes_nothing(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(*_: object) -> Found:
        raise UserError("no")

    monkeypatch.setattr(pool, "kept", kept)
    with pytest.raises(UserError, match="nothing was computed: the start and its pairs: no"):
        frontier_study(tmp_path / "out", plan, jobs=1, quiet=True)
