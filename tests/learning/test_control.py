"""Short runs that must improve: two runs of each that keep a pole up longer and longer, or earn more than by chance."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from groups import Plan, train
from recipes.classic_worlds import HERE

from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce_baseline import ReinforceBaseline
from burnish.algorithms.trpo import TRPO
from burnish.experience.control.environments import Environments, make_environments
from burnish.experience.control.replay import replay
from burnish.experience.control.rollouts import Control
from burnish.experience.control.trained import load_policies
from burnish.recipes.control.group import RunGroup, run_group
from burnish.recipes.control.settings import method
from burnish.training.control.optimizer import Steps

EPISODES = 70
ONLINE = {"episodes": EPISODES, "hidden": (32,), "dtype": torch.float32}
PLANS = {
    "ppo": Plan(
        PPO(update_epochs=6, value_weight=1.0, value_clip=None),
        Control(4, 32, gamma=0.98),
        Steps(0.003, batch_size=64),
        **ONLINE,
    ),
    "trpo": Plan(TRPO(max_kl=0.03, update_epochs=4), Control(4, 48, gamma=0.98), Steps(0.005, batch_size=64), **ONLINE),
    "reinforce_baseline": Plan(ReinforceBaseline(), Control(2, None, gamma=0.98), Steps(0.02), **ONLINE),
}


def poles(seeds: object, copies: int) -> Environments:
    return make_environments("CartPole-v1", seeds, copies, max_episode_steps=150)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLANS)
def test_the_last_episodes_are_twice_as_long_as_the_first(name: str, tmp_path: Path) -> None:
    trained = train(PLANS[name], poles, [1, 2], tmp_path / "run")
    for run in range(2):
        returns = {episode: earned for episode, earned, _, _ in trained.finished(run)}
        assert sorted(returns) == list(range(1, EPISODES + 1))
        first, last = (
            np.mean([returns[n] for n in some]) for some in (range(1, 21), range(EPISODES - 19, EPISODES + 1))
        )
        assert last > 2 * first


COMMON = {"learning_starts": 60, "batch_size": 32, "learning_rate": 5e-3, "gamma": 0.9, "adam_eps": 1e-8}
STAIRS: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "dqn": ("Told-v0", {"target_update_interval": 10, "exploration_fraction": 0.5, "max_grad_norm": 10.0}, 3.5, 6.0),
    "sac": ("Driven-v0", {"tau": 0.05, "max_grad_norm": 0.0, "temperature": 0.1}, -0.5, 1.5),
}
"""A world, hyperparameters, what uniform actions return there, and what the last 20 episodes must return at least; the
best actions return 7 in both."""


@pytest.mark.parametrize("name", STAIRS)
def test_replay_learns_better_actions(name: str, tmp_path: Path) -> None:
    """Two runs of 360 steps, the first 60 of them uniform."""
    env, own, uniform, least = STAIRS[name]
    asked = RunGroup(method(name, COMMON | own), f"{HERE}:{env}", {}, (16,), None, 3, 0, 1, steps=360)
    assert run_group(asked, tmp_path / "g", lambda steps: None)["failed"] == {}
    returns = pd.read_parquet(tmp_path / "g" / "returns.parquet").groupby("run")["return"]
    assert returns.head(20).mean() == pytest.approx(uniform, abs=1.5)
    assert returns.apply(lambda run: run.tail(20).mean()).min() > least


def test_what_was_learned_through_statistics_is_earned_again_after_loading(tmp_path: Path) -> None:
    """16 of 16, where the numbers seen differ by a thousandth. Without the statistics a policy cannot tell them apart,
    and earns 8 ± 2 in an episode by chance."""
    knobs = {"copies": 4, "rollout": 32, "batch_size": 64, "learning_rate": 0.02, "normalise_observations": True}
    world, folder = f"{HERE}:Sides-v0", tmp_path / "ppo"
    found = run_group(RunGroup(method("ppo", knobs), world, {}, (8,), 200, 5, 0, 0), folder, lambda episodes: None)
    assert found["failed"] == {}
    assert pd.read_parquet(folder / "returns.parquet")["return"].tail(20).mean() > 14
    policies = load_policies(folder)
    assert replay(policies, make_environments(world, [9], 20), [9]).returns.mean() > 15.5
    policies.seen = None
    assert replay(policies, make_environments(world, [9], 20), [9]).returns.mean() < 12
