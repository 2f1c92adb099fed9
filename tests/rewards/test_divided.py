"""Rewards in several real processes: the same scores in all, and who computes them."""

import os
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import torch
from tiny_scorers import make_scorer

from burnish.rewards.completed import BadRewardError, Completed, checked_scores
from burnish.rewards.divided import divided
from burnish.rewards.ensemble import Ensemble
from burnish.rewards.function import function_reward
from burnish.rewards.model import ModelReward
from burnish.rewards.weighted import Weighted
from burnish.run.world import ALONE, joined


def completed(count: int = 4) -> Completed:
    rows = tiny.demonstrations(tiny.random_completions(count))
    words = [f"word {i}" for i in range(count)]
    return Completed(words, words, words, {}, list(range(count)), rows, [True] * count)


class Counting:
    """A reward model that keeps what it has read."""

    divided = False

    def __init__(self, fails_at: int | None = None) -> None:
        self.scorer, self.read, self.fails_at = make_scorer(), [], fails_at
        self.tokenizer, self.device, self.context = self.scorer.tokenizer, self.scorer.device, self.scorer.context

    def dropout(self, on: bool) -> None:
        self.scorer.dropout(on)

    def scores(self, batch: Any) -> torch.Tensor:
        self.read += batch.rows.tolist()
        if self.fails_at in self.read:
            raise ValueError("no such token")
        return self.scorer.scores(batch)


def lengths(prompts: list[str], responses: list[str]) -> list[float]:
    Path(f"asked by {os.environ.get('RANK')}").touch()
    return [float(len(one)) + i for i, one in enumerate(responses)]


def members(counting: Counting) -> tuple[ModelReward, Any]:
    return ModelReward("model", counting), function_reward(lengths)


def scored(folder: str) -> dict[str, Any]:
    """One process's part."""
    os.chdir(folder)
    world, found = joined(), {}
    for name, kind in (("ensemble", "minimum"), ("sum", None)):
        counting = Counting()
        parts = members(counting)
        whole: Any = Ensemble(name, parts, kind) if kind else Weighted(name, parts, (2.0, 0.5), ("model", "lengths"))
        found[name] = checked_scores(divided(whole, world), completed()), counting.read
    few = Counting()
    found["one"] = checked_scores(divided(ModelReward("model", few), world), completed().select([0])), few.read
    for name, reward in (("fails", ModelReward("model", Counting(3))), ("raises", function_reward(lambda p, r: 1 / 0))):
        try:
            checked_scores(divided(reward, world), completed())
        except BadRewardError as error:
            found[name] = str(error), error.rows
    world.barrier()
    return found


def test_models_are_divided_and_functions_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes have rows 0, 1 and 2–3 of four; of one row, the last has it."""
    found = ranks.together(3, tmp_path / "ends", scored, str(tmp_path))
    (tmp_path / "alone").mkdir()
    monkeypatch.chdir(tmp_path / "alone")
    alone = members(Counting())
    model, function = (checked_scores(part, completed()) for part in alone)
    for one, read, single in zip(found, ([0], [1], [2, 3]), ([], [], [0]), strict=True):
        assert one["ensemble"][0] == pytest.approx([min(pair) for pair in zip(model, function, strict=True)], rel=1e-12)
        assert one["sum"][0] == pytest.approx(
            [2 * m + 0.5 * f for m, f in zip(model, function, strict=True)], rel=1e-12
        )
        assert (one["ensemble"][1], one["sum"][1], one["one"][1]) == (read, read, single)
        assert one["one"][0] == pytest.approx(model[:1], rel=1e-12)
        assert one["fails"] == ("the reward model model failed (ValueError: no such token)", [2, 3])
        assert one["raises"] == found[0]["raises"]
    assert "<lambda> failed for row 0 (ZeroDivisionError: division by zero)" in found[0]["raises"][0]
    assert [path.name for path in tmp_path.glob("asked by *")] == ["asked by 0"]


def test_one_process_has_the_reward_itself() -> None:
    reward = function_reward(lengths)
    assert divided(reward, ALONE) is reward
