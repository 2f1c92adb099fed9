"""Trainings in environments: without a lag `burnish classic`'s to the bit, and weights by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from burnish.experience.control.behind import Behind
from burnish.policies.control.policy import ControlPolicy
from burnish.recipes.control.group import run_group
from burnish.recipes.study.onoff.control import Clock, Episodes, Watch, final, group_of, late, trained, weights
from burnish.recipes.study.onoff.plan import CARTPOLE

from .worlds import TINY

PLAN = replace(TINY, hidden=(8,), late_steps=768)


def files(folder: Path) -> tuple[bytes, pd.DataFrame]:
    return (folder / "weights.safetensors").read_bytes(), pd.read_parquet(folder / "returns.parquet")


def test_without_a_lag_a_training_is_todays_to_the_bit(tmp_path: Path) -> None:
    """And so is one that is only looked at; with a lag it is another."""
    group = group_of(PLAN, CARTPOLE, "ppo", 3, PLAN.late_steps, max_episode_steps=PLAN.longest)
    run_group(group, tmp_path / "today", lambda steps: None)
    expected, table = files(tmp_path / "today")
    late(PLAN, 3, 0, "none", tmp_path / "fresh")
    weights(PLAN, 3, tmp_path / "watched")
    for name in ("fresh", "watched"):
        found, episodes = files(tmp_path / name / "run")
        assert found == expected
        pd.testing.assert_frame_equal(episodes, table)
    late(PLAN, 3, 1, "none", tmp_path / "late")
    assert files(tmp_path / "late" / "run")[0] != expected


def test_runs_in_lockstep_learn_late_as_alone(tmp_path: Path) -> None:
    """Two runs together end with the weights of each alone, within rounding."""
    alone = [group_of(PLAN, CARTPOLE, "ppo", run, 768) for run in (0, 1)]
    both = replace(alone[0], last=1)
    for name, group in (("0", alone[0]), ("1", alone[1]), ("both", both)):
        run_group(group, tmp_path / name, lambda steps: None, Behind(1, "product"))
    together = pd.read_parquet(tmp_path / "both" / "returns.parquet")
    for run in (0, 1):
        own = pd.read_parquet(tmp_path / str(run) / "returns.parquet")
        pd.testing.assert_frame_equal(together[together.run == run].reset_index(drop=True), own, check_exact=False)


def test_what_is_found_of_a_training_that_breaks_down(tmp_path: Path) -> None:
    group = group_of(PLAN, CARTPOLE, "ppo", 0, 512)
    steps = replace(group.method.steps, learning_rate=1e38)
    found = trained(replace(group, method=replace(group.method, steps=steps)), tmp_path)
    assert found["value"] is None
    assert "overflow" in found["failed"]


@pytest.mark.parametrize(
    ("ends", "expected"), [([10, 81, 90, 100], 4.0), ([10, 80, 80, 80], 5.0), ([10, 20, 30, 81], 5.0)]
)
def test_the_final_return_is_of_the_last_fifth(ends: list[int], expected: float) -> None:
    """Of 100 steps: the episodes that end after step 80, or else the last one. Returns are 2, 3, 4 and 5."""
    assert final(np.array(ends), np.array([2.0, 3, 4, 5]), 100) == expected


def test_a_clock_has_marks_on_the_way_and_at_the_end() -> None:
    clock = Clock(1000)
    for steps in range(2, 1001, 2):
        clock.at(steps)
    assert [mark[0] for mark in clock.marks][:3] == [6, 12, 18]
    assert clock.marks[-1][0] == 1000
    assert all(later[1] >= mark[1] for mark, later in zip(clock.marks, clock.marks[1:], strict=False))
    short = Clock(10)
    short.at(10)
    assert [mark[0] for mark in short.marks] == [10]


class Coin:
    """Log-probabilities of three given actions, which `learn` changes."""

    def __init__(self) -> None:
        self.now = torch.zeros(1, 2, 3)

    def logprobs(self, batch: Any) -> torch.Tensor:
        return self.now.clone()


def test_a_watch_weighs_the_anchors_episodes_by_later_policies() -> None:
    """The policy's log-probabilities grow by 1 a turn in the first row, and not in the second, which has two actions.

    One turn later the log-weights of three actions are 3 and 0; two turns later 6 and 0.
    """
    coin, drawn = Coin(), []
    mask = torch.tensor([[[True, True, True], [True, True, False]]])

    def draw(policy: Any, turn: int) -> Any:
        drawn.append(turn)
        return SimpleNamespace(mask=mask)

    watch = Watch((1, 2), (0, 2), (1, 3), draw)
    for turn in range(6):
        watch.look(coin, turn)
        coin.now[:, 0] += 1
    assert drawn == [1, 2]
    assert [(row["anchor"], row["lag"], row["count"]) for row in watch.rows] == [
        *[(1, 0, 1), (1, 0, 3), (2, 0, 1), (2, 0, 3)],
        *[(1, 2, 1), (1, 2, 3), (2, 2, 1), (2, 2, 3)],
    ]
    assert [row["log_largest"] for row in watch.rows] == [0, 0, 0, 0, 2, 6, 2, 6]
    assert all(row["length"] == 2.5 for row in watch.rows)
    e = np.exp(6.0)
    assert watch.rows[-1]["ess"] == pytest.approx((1 + e) ** 2 / (2 * (1 + e**2)))
    assert watch.held == {}


def test_episodes_are_whole_and_drawn_by_the_policy() -> None:
    """CartPole with an untrained policy: each of 6 rows ends, and the recorded log-probabilities are the policy's."""
    group = group_of(PLAN, CARTPOLE, "ppo", 0, 512, max_episode_steps=PLAN.longest)
    policy = ControlPolicy(4, 2, [5], hidden=(8,))
    before = policy.theta.detach().clone()
    batch = Episodes(group, 6).drawn(policy, 3)
    assert batch.mask.shape[:2] == (1, 6)
    assert (batch.lengths > 5).all()
    last = batch.discounts.gather(2, batch.lengths[..., None] - 1)
    assert (last == 0).all()  # It has terminated: no row is cut.
    with torch.no_grad():
        torch.testing.assert_close(policy.logprobs(batch), torch.where(batch.mask, batch.old_logprobs, 0.0))
    assert torch.equal(policy.theta, before)
    again = Episodes(group, 6).drawn(policy, 4)
    assert again.lengths.tolist() != batch.lengths.tolist()  # Each turn has its own episodes.
