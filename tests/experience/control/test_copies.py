from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from burnish.experience.control.copies import Copies, Vector, one_run
from burnish.experience.control.player import Player
from burnish.experience.control.rollouts import Control
from burnish.experience.control.spaces import observation_reader
from burnish.experience.control.vector import VectorEnvironments
from burnish.policies.control.policy import ControlPolicy
from burnish.policies.interface import Models


class Levels(gymnasium.Env):
    """The n-th episode, counted from 0, shows n and has n + `first` steps; played ones are noted."""

    observation_space, action_space = Box(0, 99, (2,), np.float32), Discrete(2)

    def __init__(self, first: int = 1) -> None:
        self.level, self.first, self.steps, self.played = -1, first, 0, []  # type: ignore[var-annotated]

    def shown(self) -> np.ndarray:
        return np.array([self.level, self.steps], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.level, self.steps = self.level + 1, 0
        return self.shown(), {}

    def step(self, action: int) -> Any:
        self.steps += 1
        if self.steps == 1:
            self.played.append(self.level)
        return self.shown(), 1.0, self.steps == self.level + self.first, False, {}


def vector(mode: AutoresetMode, *firsts: int) -> tuple[SyncVectorEnv, list[Levels]]:
    inner = [Levels(first) for first in firsts]
    return SyncVectorEnv([lambda env=env: env for env in inner], autoreset_mode=mode), inner


READ = observation_reader(Levels.observation_space, "x")


def test_single_copies_are_stepped_one_by_one() -> None:
    """Copy 0 ends with every step of its first episode; while it waits nothing is done to it."""
    env, inner = vector(AutoresetMode.DISABLED, 1, 3)
    run = one_run(env, 4, READ)
    assert isinstance(run, Copies)
    assert run.reset().tolist() == [[0, 0], [0, 0]]
    moved = run.step(np.zeros(2, int), np.array([True, True]))
    assert (moved.observations.tolist(), moved.following.tolist()) == ([[0, 1], [0, 1]], [[1, 0], [0, 1]])
    assert (moved.terminated.tolist(), moved.rewards.tolist()) == ([True, False], [1, 1])
    for steps in (2, 3):
        moved = run.step(np.zeros(2, int), np.array([False, True]))
        assert moved.observations.tolist() == [[1, 0], [0, steps]]
        assert (moved.real.tolist(), moved.rewards.tolist()) == ([False, True], [0, 1])
    assert moved.terminated.tolist() == [False, True]
    assert [(env.level, env.steps) for env in inner] == [(1, 0), (1, 0)]
    assert run.begin().tolist() == [[1, 0], [1, 0]]  # Both have just begun an episode.
    run.step(np.zeros(2, int), np.array([False, True]))
    assert run.begin().tolist() == [[1, 0], [2, 0]]
    assert run.reset().tolist() == [[2, 0], [3, 0]]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_vector_that_steps_itself_begins_again_where_a_copy_could_not_wait(mode: AutoresetMode) -> None:
    env, inner = vector(mode, 1, 3)
    run = one_run(env, 4, READ)
    assert isinstance(run, Vector)
    run.reset()
    run.step(np.zeros(2, int), np.array([True, True]))
    for _ in range(2):
        moved = run.step(np.zeros(2, int), np.array([False, True]))
        assert moved.real.tolist() == [False, True]
        assert not moved.terminated[0]
    assert (run.begin()[:, 1] == 0).all()
    assert all(env.steps == 0 for env in inner)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_one_copy_plays_every_episode_that_begins(mode: AutoresetMode) -> None:
    """What the first observations say enters the normaliser's statistics once."""
    env, (inner,) = vector(mode, 2)
    environments = VectorEnvironments([env], [4])
    models, control = (
        Models(policy=ControlPolicy(2, 2, [4], hidden=(2,))),
        Control(1, None, normalise_observations=True),
    )
    player = Player(models, control, environments, [4], 6)
    for _ in range(6):
        player.play()
    assert inner.played == [0, 1, 2, 3, 4, 5]
    assert [(e.episode, e.length) for e in player.ledger.finished] == [(n + 1, n + 2) for n in range(6)]
    assert player.seen is not None
    # Each episode's first observation, and those that it led to but for the last, whose place the next one's takes.
    assert player.seen.moments.count.tolist() == [sum(n + 2 for n in range(6))]


def test_copies_of_whole_episodes_wait_for_the_longest() -> None:
    env, inner = vector(AutoresetMode.DISABLED, 1, 5)
    player = Player(
        Models(policy=ControlPolicy(2, 2, [4], hidden=(2,))), Control(2, None), VectorEnvironments([env], [4]), [4], 99
    )
    for _ in range(3):
        player.play()
    assert [one.played for one in inner] == [[0, 1, 2], [0, 1, 2]]
    lengths = sorted((e.episode, e.length) for e in player.ledger.finished)
    assert lengths == [(1, 1), (2, 5), (3, 2), (4, 6), (5, 3), (6, 7)]
