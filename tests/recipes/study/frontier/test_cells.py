"""Cells: names, the best of n, what is seen of a training, and which prefixes are whose."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.data import builtin
from burnish.policies.interface import Models
from burnish.policies.language.slots import NotFiniteError
from burnish.recipes.study.frontier.cells import (
    Cell,
    Frontier,
    Watch,
    best_point,
    diverged_at,
    held_out,
    learned,
    prefixes,
)
from burnish.recipes.study.frontier.judge import study_judge
from burnish.recipes.study.frontier.measure import Completions, DivergedError
from burnish.recipes.study.frontier.plan import REDUCED
from burnish.run import UserError
from burnish.training.step import NonFiniteLossError

from .worlds import TINY, narrow


def test_a_cell_has_a_file_of_its_own_and_a_name_for_readers() -> None:
    cells = [Cell(), Cell(2), Cell(2, "dpo", 0.05), Cell(2, "best_of_n")]
    assert [one.name for one in cells] == ["start", "seed-2/reward", "seed-2/dpo-0.05", "seed-2/best_of_n"]
    assert [one.label for one in cells] == [
        "the start and its pairs",
        "seed 2, reward model",
        "seed 2, DPO, β 0.05",
        "seed 2, Best of n",
    ]


def test_a_cell_is_damaged_without_points_or_with_another_value() -> None:
    job = Frontier(TINY)
    assert not job.is_whole(Cell(0, "dpo", 0.1), {"value": 0.1})
    assert not job.is_whole(Cell(0, "dpo", 0.1), {"points": [], "value": 0.2})
    assert job.is_whole(Cell(0, "dpo", 0.1), {"points": [], "value": 0.1})


def test_the_line_of_a_cell() -> None:
    points = [{"gold": [0.0, 1.0], "kl": [2.0, 4.0]}]
    job, cell = Frontier(TINY), Cell(0, "dpo", 0.1)
    assert job.line(cell, {"points": points, "diverged": None}) == "gold 0.50 at 3.00 nats"
    assert job.line(cell, {"points": points, "diverged": 7}) == "gold 0.50 at 3.00 nats, diverged at step 7"
    assert job.line(cell, {"points": [], "diverged": 1}) == "no measurement"


def test_prefixes_are_of_reviews_that_the_judge_was_not_fitted_on() -> None:
    mine, other = prefixes(REDUCED), held_out(REDUCED)
    assert (len(mine), len(other)) == (512, 192)
    gold = {" ".join(text.split(" ")[:n]) for text in builtin.rated("gold")["text"] for n in range(2, 9)}
    liked = {" ".join(text.split(" ")[:n]) for text in builtin.rated("preferences")["text"] for n in range(2, 9)}
    assert set(mine) <= liked
    assert sum(one in gold for one in mine) < 60  # short ones are the same by chance
    assert not set(other) & set(mine) - gold - liked


def test_the_best_of_n_has_the_gold_scores_of_what_the_reward_model_picks() -> None:
    """Of 3 completions the reward model likes the last best. Of two of them, drawn at random, the third is there in two
    of three cases, and else the second is the better one."""
    texts = ["A bad film.", "A film.", "A wonderful film."]
    drawn = Completions([[1]] * 3, [[5, 6], [5], [5, 6, 7]], [[0.0]] * 3, texts, texts, [True, True, False])
    proxy = np.array([[0.0, 1.0, 2.0]])
    gold = study_judge().score(texts)
    two, three = best_point(2, drawn, proxy), best_point(3, drawn, proxy)
    assert two["gold"] == pytest.approx([(2 * gold[2] + gold[1]) / 3], abs=1e-5)
    assert three["gold"] == pytest.approx([gold[2]], abs=1e-5)
    assert (two["length"], three["length"]) == pytest.approx(((2 * 3 + 1) / 3, 3.0))
    assert (two["ended"], three["ended"]) == pytest.approx((1 / 3, 0.0))
    assert (two["kl"], three["kl"]) == ([math.log(2) - 1 / 2], [math.log(3) - 2 / 3])


def test_divergence_has_a_step_and_other_mistakes_have_none() -> None:
    def because(cause: BaseException) -> UserError:
        error = UserError("no")
        error.__cause__ = cause
        return error

    assert diverged_at(because(NonFiniteLossError("loss", [1])), 7) == 8
    assert diverged_at(NotFiniteError("the sampler"), 7) == 8
    assert diverged_at(because(DivergedError()), 7) == 7
    assert diverged_at(because(NotFiniteError("measuring")), 7) == 7
    assert diverged_at(because(ValueError()), 7) is None


def test_time_and_tokens_are_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each update takes 1 s, each measurement 100 s. Rollouts of 8 completions of 10 and 20 tokens, two updates each;
    measured after every second update."""
    clock = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    monkeypatch.setattr(time, "perf_counter", lambda: 2 * clock[0])

    class Slow:
        def measured(self, policy: Any) -> dict[str, Any]:
            clock[0] += 100
            return {"policy": policy}

    watch = Watch(Slow(), every=2, each=8)  # type: ignore[arg-type]
    watch.begin(Models(policy="me"))
    for step in range(1, 5):
        clock[0] += 1
        first = {"objective/length": 5.0 * (step + 1)} if step % 2 else {}
        watch.step(step, {"num_tokens": 7.0 * step} | first)
    assert watch.points == [
        {"step": 2, "seconds": 2.0, "sampled": 80.0, "learned": 14.0, "policy": "me"},
        {"step": 4, "seconds": 4.0, "sampled": 240.0, "learned": 28.0, "policy": "me"},
    ]
    assert (watch.at, watch.seconds, watch.wall, watch.sampled, watch.learned) == (4, 4.0, 8.0, 240.0, 28.0)


def test_a_method_that_diverges_is_recorded_with_its_step(tmp_path: Path) -> None:
    """The first update at a learning rate of 1e9 leaves weights whose gradient is not finite."""
    start = tmp_path / "start"
    start.mkdir()
    narrow(start / "model")
    pairs = [{"prompt": f"Film {i}", "chosen": " good.", "rejected": " a bad one."} for i in range(8)]
    for name in ("pairs", "held"):
        (start / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pairs))
    wild = replace(TINY, learning_rate=1e9, warmup=0.0, grid={"ipo": (0.1,)}, steps=4, eval_every=4)
    found = learned(Cell(0, "ipo", 0.1), wild, tmp_path, tmp_path / "work")
    assert found["diverged"] == 2
    assert found["points"] == []
