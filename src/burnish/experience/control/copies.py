"""The environments of one run: copies that are stepped one by one, or a vector that steps itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from burnish.experience.control.spaces import ObservationReader

ENVIRONMENT_STREAM = 0xE
"""Separates a run's environment streams from everything else that is seeded with the run's number."""


def stream(seed: int, copy: int) -> np.random.SeedSequence:
    """The random stream of one copy of a run's environment."""
    return np.random.SeedSequence(seed, spawn_key=(ENVIRONMENT_STREAM, copy))


def _number(seed: int, copy: int) -> int:
    """A seed for Gymnasium, below 2³¹, as some environments' libraries require."""
    return int(stream(seed, copy).generate_state(1)[0] >> 1)


class Moved(NamedTuple):
    """One step of one run, as in `Transition`, without the leading dimension of runs."""

    observations: np.ndarray
    following: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    real: np.ndarray


def one_number(reward: Any) -> Any:
    """The reward of a single environment's step. Raises ValueError where it is an array."""
    if np.ndim(reward):
        raise ValueError(f"a reward of shape {np.shape(reward)} where one number is expected: return float(reward)")
    return reward


class OneRun(Protocol):
    """The environments of one run, E copies."""

    def reset(self) -> np.ndarray:
        """Start a new episode everywhere; seeded the first time, continuing the random streams after that."""
        ...

    def begin(self) -> np.ndarray:
        """First observations everywhere: a copy whose episode has not been stepped yet keeps it."""
        ...

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Moved:
        """Step the copies that are `stepping`, and start the next episode where one ended."""
        ...

    def close(self) -> None: ...


def one_run(env: VectorEnv, seed: int, read: ObservationReader) -> OneRun:
    """The environments of one run. The copies inside Gymnasium's own vector without autoreset are stepped one by one:
    so a copy that has played its episode waits, and every episode that begins is played."""
    if type(env) is SyncVectorEnv and env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED:
        return Copies(env.envs, seed, read)
    return Vector(env, seed, read)


class Copies:
    """Copies of a single environment."""

    def __init__(self, envs: Sequence[gymnasium.Env], seed: int, read: ObservationReader) -> None:
        self._envs, self._read = envs, read
        self._seeds: list[int | None] = [_number(seed, copy) for copy in range(len(envs))]
        self._fresh = np.zeros(len(envs), dtype=bool)
        self._seen = np.zeros((len(envs), read.size), read.dtype)

    def reset(self) -> np.ndarray:
        self._fresh[:] = False
        return self.begin()

    def begin(self) -> np.ndarray:
        if not self._fresh.all():
            self._start(np.flatnonzero(~self._fresh).tolist())
        return self._seen.copy()

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Moved:
        which = np.flatnonzero(stepping).tolist()
        rewards, terminated, truncated = (np.zeros(len(self._envs), kind) for kind in (np.float64, bool, bool))
        raw = []
        for e in which:
            observation, reward, terminated[e], truncated[e], _ = self._envs[e].step(actions[e])
            rewards[e] = one_number(reward)
            raw.append(observation)
        if len(which) == len(self._envs):
            observations = self._read(raw)
        else:
            observations = self._seen.copy()
            if which:
                observations[which] = self._read(raw)
        self._fresh[which] = False
        self._seen = observations
        ended = terminated | truncated
        if ended.any():
            self._seen = observations.copy()
            self._start(np.flatnonzero(ended).tolist())
        return Moved(observations, self._seen.copy(), rewards, terminated, truncated, np.array(stepping, dtype=bool))

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _start(self, which: list[int]) -> None:
        """Start a new episode in these copies."""
        begun = []
        for e in which:
            begun.append(self._envs[e].reset(seed=self._seeds[e])[0])
            self._seeds[e] = None
        self._seen[which] = self._read(begun)
        self._fresh[which] = True


class Vector:
    """A vector environment, in any of Gymnasium's autoreset modes.

    DISABLED: the caller starts the next episode. SAME_STEP: the step that ends an episode returns the first observation
    of the next one, and the final one in its infos. NEXT_STEP: the step after the end ignores its action and starts the
    next episode; it is not experience. Copies that should wait are stepped with the others, because a vector cannot do
    otherwise; `real` is False for them, and at the next `begin` all start again.
    """

    def __init__(self, env: VectorEnv, seed: int, read: ObservationReader) -> None:
        self.env, self.copies, self._read = env, env.num_envs, read
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        many = isinstance(env.unwrapped, SyncVectorEnv)
        self._seed: Any = [_number(seed, copy) for copy in range(self.copies)] if many else _number(seed, 0)
        self._ended, self._fresh = np.zeros(self.copies, dtype=bool), np.zeros(self.copies, dtype=bool)
        self._seen = np.zeros((self.copies, read.size), read.dtype)

    def reset(self) -> np.ndarray:
        observations, _ = self.env.reset(seed=self._seed)
        self._seed = None
        self._ended, self._fresh = np.zeros(self.copies, dtype=bool), np.ones(self.copies, dtype=bool)
        self._seen = self._read(observations)
        return self._seen

    def begin(self) -> np.ndarray:
        return self._seen if self._fresh.all() else self.reset()

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Moved:
        raw, rewards, terminated, truncated, infos = self.env.step(actions)
        observations = following = self._read(raw)
        rewards = np.array(rewards, dtype=np.float64)
        if rewards.shape != (self.copies,):
            raise ValueError(f"rewards of shape {rewards.shape} for {self.copies} copies")
        real = np.ones(self.copies, dtype=bool)
        if self.mode is AutoresetMode.NEXT_STEP:
            real = ~self._ended
        terminated, truncated = np.array(terminated, dtype=bool) & real, np.array(truncated, dtype=bool) & real
        self._ended = ended = terminated | truncated
        if ended.any() and self.mode is AutoresetMode.SAME_STEP:
            observations = following.copy()
            final = infos.get("final_obs") if isinstance(infos, dict) else None
            if final is None:
                raise ValueError("an episode ended in autoreset mode SAME_STEP without 'final_obs' in infos")
            for copy in np.flatnonzero(ended):
                observations[copy] = self._read([final[copy]])[0]
        elif ended.any() and self.mode is AutoresetMode.DISABLED:
            # A new dict each time: the environment may remove the mask, and a wrapper reads it too.
            begun = self._read(self.env.reset(options={"reset_mask": ended.copy()})[0])
            following = np.where(ended[:, None], begun, observations)
        self._fresh = ~real if self.mode is AutoresetMode.NEXT_STEP else ended
        self._seen, real = following, real & stepping
        return Moved(observations, following, np.where(real, rewards, 0.0), terminated & real, truncated & real, real)

    def close(self) -> None:
        self.env.close()
