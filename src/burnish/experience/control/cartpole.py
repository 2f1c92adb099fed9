"""CartPole of all runs in one native vector environment, with a random stream per run.

Gymnasium's native vector draws all new episodes from one generator and starts them one step after the end. Here it only
does the mechanics: new episodes start at once, from the run's own stream.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from jaxtyping import Bool, Float, Int

from burnish.experience.control.copies import stream
from burnish.experience.control.vector import Transition

DRAWN = 64
"""The smallest number of starts drawn at once per run. It does not change any number."""


class CartPoles:
    """CartPole of R runs with E copies each, in one vector of R·E: the same transitions as each run alone.

    `max_episode_steps` truncates; a pole that falls on the last step is terminated as well.
    """

    observations, actions, continuous = 4, 2, False
    choices: tuple[int, ...] = ()
    image: tuple[int, int, int] | None = None

    def __init__(
        self, seeds: Sequence[int], copies: int, max_episode_steps: int, sutton_barto_reward: bool = False
    ) -> None:
        self._copies, self._options = copies, (max_episode_steps, sutton_barto_reward)
        self._streams = [np.random.default_rng(stream(seed, 0)) for seed in seeds]
        self._env = self._native()
        self.spaces = (self._env.single_observation_space, self._env.single_action_space)
        self._starts = np.stack([self._draw(r, DRAWN + copies) for r in range(len(seeds))])
        self._used = np.zeros(len(seeds), dtype=np.int64)

    def reset(self) -> Float[np.ndarray, "R E 4"]:
        """Start a new episode everywhere."""
        self._env = self._native()
        self._begin(np.ones((len(self._streams), self._copies), dtype=bool))
        return self._shown()

    def begin(self) -> Float[np.ndarray, "R E 4"]:
        """As `reset`: starts are independent draws, so that one which is left out changes nothing."""
        return self.reset()

    def step(self, actions: Int[np.ndarray, "R E"], stepping: Bool[np.ndarray, "R *E"]) -> Transition:
        """Step the runs, or the copies, that are `stepping`; the others keep their states and step counts."""
        env, shape = self._env, (len(self._streams), self._copies)
        stepping = np.asarray(stepping, dtype=bool)
        before, all_step = env.state, bool(stepping.all())
        real = (
            np.ones(shape, dtype=bool)
            if all_step
            else np.broadcast_to(stepping.reshape(len(stepping), -1), shape).copy()
        )
        chosen = np.asarray(actions) if all_step else np.where(real, actions, 0)
        _, rewards, terminated, truncated, _ = env.step(chosen.reshape(-1))
        if not all_step:
            still = ~real.reshape(-1)
            env.state[:, still] = before[:, still]
            env.steps[still] -= 1
            rewards[still], terminated[still], truncated[still] = 0.0, False, False
        ended = (terminated | truncated).reshape(shape)
        env.prev_done = np.zeros_like(env.prev_done)  # So that it starts no episode by itself.
        observations = following = self._shown()
        if ended.any():
            self._begin(ended)
            following = self._shown()
        return Transition(
            observations,
            following,
            rewards.astype(np.float64).reshape(shape),
            terminated.reshape(shape),
            truncated.reshape(shape),
            real,
        )

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions, in this order."""
        chosen = [int(i) for i in index]
        columns = np.arange(len(self._streams) * self._copies).reshape(-1, self._copies)[chosen].reshape(-1)
        state, steps = np.ascontiguousarray(self._env.state[:, columns]), self._env.steps[columns]
        self._streams = [self._streams[i] for i in chosen]
        self._starts, self._used = self._starts[chosen], self._used[chosen]
        self._env = self._native()
        self._env.state, self._env.steps = state, steps

    def close(self) -> None:
        """Nothing to free: nothing was rendered."""

    def _native(self) -> Any:
        """A vector for the current runs, at rest."""
        max_episode_steps, sutton_barto_reward = self._options
        count = len(self._streams) * self._copies
        env: Any = CartPoleVectorEnv(count, max_episode_steps, sutton_barto_reward=sutton_barto_reward)
        env.state = np.zeros((4, count))
        return env

    def _begin(self, which: Bool[np.ndarray, "R E"]) -> None:
        """Start an episode in these copies: a run's k-th episode always gets its k-th start, copies in order."""
        columns = np.flatnonzero(which)
        runs = columns // self._copies
        turn = np.arange(len(runs)) - np.searchsorted(runs, runs)  # Its number among the run's episodes of this step.
        self._env.state[:, columns] = self._starts[runs, self._used[runs] + turn].T
        self._env.steps[columns] = 0
        self._used += np.bincount(runs, minlength=len(self._used))
        for r in np.flatnonzero(self._used + self._copies > self._starts.shape[1]).tolist():
            used = int(self._used[r])
            left = self._starts[r, used:]
            self._starts[r] = np.concatenate([left, self._draw(r, used)])
            self._used[r] = 0

    def _draw(self, run: int, count: int) -> Float[np.ndarray, "count 4"]:
        """The next starts of a run, from its own stream; many at a time, because a call costs the same."""
        return self._streams[run].uniform(self._env.low, self._env.high, size=(count, 4))

    def _shown(self) -> Float[np.ndarray, "R E 4"]:
        """The states as Gymnasium returns them: float32, in a new array."""
        return np.ascontiguousarray(self._env.state.T, dtype=np.float32).reshape(-1, self._copies, 4)
