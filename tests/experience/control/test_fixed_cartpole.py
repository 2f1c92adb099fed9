"""CartPole of one length, held against Gymnasium's own."""

import gymnasium
import numpy as np
import pytest

from burnish.experience.control.environments import make_environments
from burnish.experience.control.fixed_cartpole import FIXED_CARTPOLE, STEPS


def balance(observation: np.ndarray) -> int:
    """Pushes under the pole, which keeps it up for more than 200 steps."""
    return int(observation[2] + observation[3] > 0)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_cartpole_until_the_fall_and_lies_from_then_on(seed: int) -> None:
    ours, theirs = gymnasium.make(FIXED_CARTPOLE), gymnasium.make("CartPole-v1")
    mine, right = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
    np.testing.assert_array_equal(mine, right)
    rng, up, length, total = np.random.default_rng(seed), True, 0, 0.0
    for step in range(1, STEPS + 1):
        action = int(rng.integers(2))
        was_up = up
        if up:
            right, _, fell, *_ = theirs.step(action)
            up, length = not fell, length + 1
        mine, reward, terminated, truncated, _ = ours.step(action)
        np.testing.assert_array_equal(mine, right)
        assert (reward, terminated, truncated) == (float(was_up), False, step == STEPS)
        total += float(reward)
    assert not up
    assert total == length < STEPS


def test_an_episode_without_a_fall_earns_every_step() -> None:
    env = gymnasium.make(FIXED_CARTPOLE)
    seen, _ = env.reset(seed=3)
    rewards = []
    for _ in range(STEPS):
        seen, reward, terminated, truncated, _ = env.step(balance(seen))
        rewards.append(reward)
        assert not terminated
    assert truncated
    assert sum(rewards) == 200


def test_a_new_episode_stands_again() -> None:
    env = gymnasium.make(FIXED_CARTPOLE)
    env.reset(seed=1)
    for _ in range(STEPS):
        fallen = env.step(1)[0]
    assert env.step(1)[1] == 0
    begun, _ = env.reset()
    assert abs(begun).max() <= 0.05 < abs(fallen).max()
    assert env.step(1)[1] == 1


def test_it_is_made_in_groups_by_its_id() -> None:
    environments = make_environments(FIXED_CARTPOLE, [1, 2], 3)
    assert environments.reset().shape == (2, 3, 4)
    assert (environments.observations, environments.actions, environments.continuous) == (4, 2, False)
    environments.close()
