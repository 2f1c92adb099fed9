"""Short runs that must improve: two runs of each that keep a pole up longer and longer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from groups import Plan, train

from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce_baseline import ReinforceBaseline
from burnish.algorithms.trpo import TRPO
from burnish.experience.control.environments import Environments, make_environments
from burnish.experience.control.rollouts import Control
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
