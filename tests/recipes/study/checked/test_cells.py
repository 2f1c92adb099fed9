"""Cells: their names, their files, and what is seen of a training."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from burnish.policies.interface import Models
from burnish.policies.language.policy import load_policy
from burnish.recipes.study.checked import cells
from burnish.recipes.study.checked.cells import Cell, Checked, Watch, demonstrated, exam_of
from burnish.recipes.study.checked.graded import Exam, Graded
from burnish.recipes.study.checked.pupil import born

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


def test_a_cell_is_damaged_without_its_grades_or_with_another_rate() -> None:
    job = Checked(TINY)
    assert not job.is_whole(Cell("sort", 0), {})
    assert not job.is_whole(Cell("sort", 0, "ppo", 1e-3), {"graded": {}, "rate": 0.5})
    assert job.is_whole(Cell("sort", 0, "ppo", 1e-3), {"graded": {}, "rate": 1e-3})


def test_the_line_of_a_cell() -> None:
    """3 of 4 answers are right."""
    found = {"graded": {"samples": 2, "right": [1, 2], "length": 3.25, "entropy": 0.1}}
    assert Checked(TINY).line(Cell("sort", 1), found) == "75.0% right, 3.2 tokens"


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
