"""Cells: their names, their files, and what is seen of a training."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from burnish.policies.interface import Models
from burnish.policies.language.policy import load_policy
from burnish.recipes.study import cells
from burnish.recipes.study.cells import Cell, Watch, compute, demonstrated, exam_of, known
from burnish.recipes.study.graded import Exam, Graded
from burnish.recipes.study.plan import Plan
from burnish.recipes.study.pupil import born
from burnish.run import UserError

from .worlds import SHAPE, TINY

EXAM = Exam(("sort 2 1 ->",), ("1 2",), 4)


def test_a_cell_has_a_file_of_its_own_and_a_name_for_readers() -> None:
    assert Cell("letter_count", 3).name == "letter_count/seed-3/pupil"
    assert Cell("letter_count", 3).label == "letter count, seed 3, pupil"
    assert Cell("sort", 3, "dr_grpo", 1e-3).name == "sort/seed-3/dr_grpo"
    assert Cell("sort", 3, "dr_grpo", 1e-3).label == "sort, seed 3, Dr. GRPO"
    assert Cell("reverse", 1000, "ppo", 3e-4, True).name == "reverse/search/ppo-0.0003"
    assert Cell("reverse", 1000, "ppo", 3e-4, True).label == "reverse, seed 1000, PPO at 0.0003"


def test_the_search_has_held_out_prompts_of_its_own() -> None:
    first, other, searching = (exam_of(Cell("sort", seed), TINY, 5).prompts for seed in (0, 1, 1000))
    assert first == other != searching


def test_a_cell_is_written_when_it_is_finished_and_its_work_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process left is removed first; a killed one leaves no file."""
    left = tmp_path / "work" / "sort-seed-0-pupil"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    seen = []

    def make(cell: Cell, plan: Plan, out: Path, work: Path) -> dict:
        seen.append((list(work.iterdir()), known(cell, out)))
        return {"graded": {"right": [1]}}

    monkeypatch.setattr(cells, "pupil", make)
    compute(Cell("sort", 0), TINY, tmp_path)
    assert seen == [([], None)]
    assert not left.exists()
    found = known(Cell("sort", 0), tmp_path)
    assert found is not None
    assert (found["graded"], found["task"], found["seed"], found["method"]) == ({"right": [1]}, "sort", 0, None)


@pytest.mark.parametrize("text", ["{}", '{"graded": {}, "rate": 0.5}'])
def test_a_damaged_cell_is_an_error_that_says_what_to_do(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cells" / "sort" / "seed-0" / "ppo.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(UserError, match=r"ppo\.json is damaged: remove it, and --resume computes it again"):
        known(Cell("sort", 0, "ppo", 1e-3), tmp_path)
    file.write_text(json.dumps({"graded": {}, "rate": 1e-3}))
    assert known(Cell("sort", 0, "ppo", 1e-3), tmp_path) is not None


def test_tokens_of_demonstrations_are_their_characters_and_an_end() -> None:
    """ " 1 2" and an end are 5 tokens."""
    assert demonstrated("task:sort:numbers=2,least=2,rows=7") == 5


def test_a_training_is_watched_between_its_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 updates per rollout of 16: the first of each has the rollout's mean length. The time that looking takes is not
    training time: an answer takes 100 s here, an update 1 s, on a clock of its own."""
    clock = [50.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])

    def grade(*_: object) -> Graded:
        clock[0] += 100
        return Graded(1, (1, 0), 3.0, 0.5)

    monkeypatch.setattr(cells, "graded", grade)
    policy = load_policy(born(tmp_path / "born", SHAPE, 0), "cpu")
    watch = Watch(replace(TINY, eval_every=2), EXAM, 0, None, True)
    watch.begin(Models(policy=policy))
    for step in range(1, 9):
        clock[0] += 1
        news = {"objective/length": 2.5 * step, "objective/frac_reward_zero_std": step / 10}
        watch.step(step, {"loss": 0.0} | (news if step % 2 else {}))
    assert watch.policy is policy
    assert [(p["rollouts"], p["tokens"], p["seconds"]) for p in watch.points] == [(2, 160, 4), (4, 640, 8)]
    assert [p["silent"] for p in watch.points] == pytest.approx([0.2, 0.6])
    assert (watch.points[0]["accuracy"], watch.points[0]["length"], watch.points[0]["entropy"]) == (0.5, 3.0, 0.5)
