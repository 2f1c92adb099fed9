"""Environments of several runs in lockstep, for all of Gymnasium's autoreset modes.

Each run has its own vector environment and random streams, so that what a run sees does not depend on the others.
Gymnasium has three ways to start the next episode (`AutoresetMode`); all give the same `Transition`.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from jaxtyping import Bool, Float, Num

from burnish.experience.control.spaces import ActionWriter, ObservationReader, action_writer, observation_reader
from burnish.run import UserCodeError, UserError, alive_and_unchanged, user_code, user_errors

ENVIRONMENT_STREAM = 0xE
"""Separates a run's environment streams from everything else that is seeded with the run's number."""


@dataclass(frozen=True)
class Transition:
    """One step of every run: R runs with E copies of the environment each.

    `observations` are those that the step led to in the same episode, the final one where it ended; `following` are
    those that the next action is chosen on, the first of the next episode where one ended. `real` is False for steps to
    ignore: one that only starts an episode, a run that waited, a run whose environment failed. `failed` has error
    messages by the run's position.
    """

    observations: Float[np.ndarray, "R E O"]
    following: Float[np.ndarray, "R E O"]
    rewards: Float[np.ndarray, "R E"]
    terminated: Bool[np.ndarray, "R E"]
    truncated: Bool[np.ndarray, "R E"]
    real: Bool[np.ndarray, "R E"]
    failed: dict[int, str] = field(default_factory=dict)


@runtime_checkable
class Environments(Protocol):
    """The environments of R runs. `actions` is their number, or the size of an action if `continuous`; `spaces` are
    those of one environment's observations and actions."""

    spaces: tuple[gymnasium.Space, gymnasium.Space]
    observations: int
    actions: int
    continuous: bool

    def reset(self) -> Float[np.ndarray, "R E O"]:
        """Start a new episode everywhere and return its first observations."""
        ...

    def step(self, actions: Num[np.ndarray, "R E *A"], stepping: Bool[np.ndarray, "R"]) -> Transition:
        """Step the runs that are `stepping`; the others stay, and their actions are ignored."""
        ...

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions, in this order."""
        ...

    def close(self) -> None:
        """Free the environments' resources."""
        ...


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


class OneRun:
    """One run's vector environment, for all three autoreset modes.

    DISABLED: the caller starts the next episode. SAME_STEP: the step that ends an episode returns the first observation
    of the next one, and the final one in its infos. NEXT_STEP: the step after the end ignores its action and starts the
    next episode; it is not experience.
    """

    def __init__(self, env: VectorEnv, seed: int, read: ObservationReader) -> None:
        self.env, self.copies, self._read = env, env.num_envs, read
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        many = isinstance(env.unwrapped, SyncVectorEnv)
        self._seed: Any = [_number(seed, copy) for copy in range(self.copies)] if many else _number(seed, 0)
        self._ended = np.zeros(self.copies, dtype=bool)

    def reset(self) -> np.ndarray:
        """Start a new episode everywhere; seeded the first time, continuing the random streams after that."""
        observations, _ = self.env.reset(seed=self._seed)
        self._seed = None
        self._ended = np.zeros(self.copies, dtype=bool)
        return self._read(observations)

    def step(self, actions: np.ndarray) -> Moved:
        """Step every copy, and start the next episode where one ended."""
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
        return Moved(observations, following, np.where(real, rewards, 0.0), terminated, truncated, real)


class VectorEnvironments:
    """One Gymnasium vector environment per run, in any autoreset mode.

    A run whose environment raises or returns a number that is not finite has failed: it is not stepped again, every
    later step reports the failure, and the other runs continue.
    """

    def __init__(self, envs: Iterable[VectorEnv], seeds: Sequence[int], name: str = "the environment") -> None:
        envs = iter(envs)
        first = next(envs)  # Unsupported spaces are reported before the other environments are made.
        self.spaces = (first.single_observation_space, first.single_action_space)
        self._read = observation_reader(first.single_observation_space, name)
        self._write: ActionWriter = action_writer(first.single_action_space, name)
        self.observations, self.actions = self._read.size, self._write.size
        self.continuous, self._name = self._write.continuous, name
        envs = [first, *envs]
        self._runs = [OneRun(env, seed, self._read) for env, seed in zip(envs, seeds, strict=True)]
        self._failures: list[str | None] = [None for _ in envs]
        self._current = np.zeros((len(envs), first.num_envs, self.observations), self._read.dtype)

    def reset(self) -> Float[np.ndarray, "R E O"]:
        """Start a new episode everywhere. A run that fails gets zeros, and reports it at its next step."""
        begun = np.zeros_like(self._current)
        for r, run in enumerate(self._runs):
            if self._failures[r] is None:
                try:
                    with user_code():
                        begun[r] = run.reset()
                except UserCodeError as error:
                    self._fail(r, error)
        for r, copy in np.argwhere(~np.isfinite(begun).all(axis=-1)):
            self._failures[r] = f"copy {copy} gave an observation that is not finite"
            begun[r] = 0
        self._current = begun
        return begun.copy()

    def step(self, actions: Num[np.ndarray, "R E *A"], stepping: Bool[np.ndarray, "R"]) -> Transition:
        """Step the runs that are `stepping`; the other environments are not touched."""
        shape = self._current.shape[:2]
        observations, following = self._current.copy(), self._current.copy()
        rewards = np.zeros(shape)
        terminated, truncated, real = (np.zeros(shape, dtype=bool) for _ in range(3))
        with alive_and_unchanged():
            for r in np.flatnonzero(stepping).tolist():
                if self._failures[r] is not None:
                    continue
                try:
                    with user_errors():
                        moved = self._runs[r].step(self._checked(actions[r]))
                except UserCodeError as error:
                    self._fail(r, error)
                    continue
                if (reason := _not_finite(moved)) is not None:
                    self._failures[r] = reason
                    continue
                observations[r], following[r], rewards[r], terminated[r], truncated[r], real[r] = moved
        self._current = following
        failed = {r: reason for r in np.flatnonzero(stepping).tolist() if (reason := self._failures[r]) is not None}
        return Transition(observations, following.copy(), rewards, terminated, truncated, real, failed)

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions; the other environments are closed."""
        chosen = [int(i) for i in index]
        for r in set(range(len(self._runs))) - set(chosen):
            self._close(r)
        self._runs = [self._runs[i] for i in chosen]
        self._failures = [self._failures[i] for i in chosen]
        self._current = self._current[chosen]

    def close(self) -> None:
        """Close every environment."""
        for r in range(len(self._runs)):
            self._close(r)

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        if self.continuous and not np.isfinite(actions).all():
            raise FloatingPointError("the policy chose an action that is not finite")
        return self._write(actions)

    def _fail(self, r: int, error: UserCodeError) -> None:
        if isinstance(error.cause, gymnasium.error.DependencyNotInstalled):
            raise UserError(f"{self._name} needs a package that is not installed: {error.cause}") from error.cause
        self._failures[r] = str(error)

    def _close(self, r: int) -> None:
        # A failure to close must not lose the results.
        with suppress(UserCodeError), user_code():
            self._runs[r].env.close()


def _not_finite(moved: Moved) -> str | None:
    """The first number of a step that is not finite, in words; None if all are finite."""
    for what, numbers in (
        ("an observation", moved.observations),
        ("an observation", moved.following),
        ("a reward", moved.rewards[:, None]),
    ):
        finite = np.isfinite(numbers)
        if not finite.all():
            return f"copy {int(np.argmin(finite.all(axis=-1)))} gave {what} that is not finite"
    return None
