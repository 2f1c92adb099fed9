"""Environments of several runs in lockstep, for all of Gymnasium's autoreset modes.

Each run has its own vector environment and random streams, so that what a run sees does not depend on the others.
Gymnasium has three ways to start the next episode (`AutoresetMode`); all give the same `Transition`.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Num

from burnish.experience.control.copies import Moved, OneRun, one_run
from burnish.experience.control.spaces import ActionWriter, action_writer, observation_reader, unusable
from burnish.run import UserCodeError, UserError, alive_and_unchanged, raised_at, user_code, user_errors


@dataclass(frozen=True)
class Transition:
    """One step of every run: R runs with E copies of the environment each.

    `observations` are those that the step led to in the same episode, the final one where it ended; `following` are
    those that the next action is chosen on, the first of the next episode where one ended. `real` is False for steps to
    ignore: one that only starts an episode, a run that waited, a run whose environment failed. `failed` has error
    messages by the run's position.
    """

    observations: Num[np.ndarray, "R E O"]
    following: Num[np.ndarray, "R E O"]
    rewards: Float[np.ndarray, "R E"]
    terminated: Bool[np.ndarray, "R E"]
    truncated: Bool[np.ndarray, "R E"]
    real: Bool[np.ndarray, "R E"]
    failed: dict[int, str] = field(default_factory=dict)


@runtime_checkable
class Environments(Protocol):
    """The environments of R runs; `spaces` are those of one environment's observations and actions.

    `actions` is their number, or the size of an action if `continuous`, or the sum of `choices`: the numbers of values
    of each choice where an action is several. `image` is the number of channels, height and width of observations that
    are images.
    """

    spaces: tuple[gymnasium.Space, gymnasium.Space]
    observations: int
    actions: int
    continuous: bool
    choices: tuple[int, ...]
    image: tuple[int, int, int] | None

    def reset(self) -> Num[np.ndarray, "R E O"]:
        """Start a new episode everywhere and return its first observations."""
        ...

    def begin(self) -> Num[np.ndarray, "R E O"]:
        """First observations of whole episodes: a new episode where one has been stepped since it began."""
        ...

    def step(self, actions: Num[np.ndarray, "R E *A"], stepping: Bool[np.ndarray, "R *E"]) -> Transition:
        """Step the runs, or the copies, that are `stepping`; the others stay, and their actions are ignored."""
        ...

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions, in this order."""
        ...

    def close(self) -> None:
        """Free the environments' resources."""
        ...


class VectorEnvironments:
    """One Gymnasium vector environment per run, in any autoreset mode.

    A run whose environment raises or returns a number that is not finite has failed: it is not stepped again, every
    later step reports the failure, and the other runs continue.
    """

    def __init__(
        self, envs: Iterable[VectorEnv], seeds: Sequence[int], name: str = "the environment", scaled: bool = False
    ) -> None:
        envs = iter(envs)
        first = next(envs)  # Unsupported spaces are reported before the other environments are made.
        self.spaces = (first.single_observation_space, first.single_action_space)
        self._read = observation_reader(first.single_observation_space, name)
        self._write: ActionWriter = action_writer(first.single_action_space, name, scaled)
        self.observations, self.actions = self._read.size, self._write.size
        self.continuous, self.choices, self.image = self._write.continuous, self._write.choices, self._read.image
        self._name = name
        envs = [first, *envs]
        self._runs = [one_run(env, seed, self._read) for env, seed in zip(envs, seeds, strict=True)]
        self._failures: list[str | None] = [None for _ in envs]
        self._current = np.zeros((len(envs), first.num_envs, self.observations), self._read.dtype)

    def reset(self) -> Num[np.ndarray, "R E O"]:
        """Start a new episode everywhere. A run that fails gets zeros, and reports it at its next step."""
        return self._started(lambda run: run.reset())

    def begin(self) -> Num[np.ndarray, "R E O"]:
        """First observations of whole episodes; as `reset`, but an episode that has not been stepped yet stays."""
        return self._started(lambda run: run.begin())

    def _started(self, start: Callable[[OneRun], np.ndarray]) -> Num[np.ndarray, "R E O"]:
        begun = np.zeros_like(self._current)
        for r, run in enumerate(self._runs):
            if self._failures[r] is None:
                try:
                    with user_code():
                        begun[r] = start(run)
                except UserCodeError as error:
                    self._fail(r, error)
                    continue
                if (reason := _unusable("an observation", begun[r])) is not None:
                    self._failures[r] = reason
                    begun[r] = 0
        self._current = begun
        return begun.copy()

    def step(self, actions: Num[np.ndarray, "R E *A"], stepping: Bool[np.ndarray, "R *E"]) -> Transition:
        """Step the runs, or the copies, that are `stepping`; the other environments are not touched."""
        shape = self._current.shape[:2]
        copies = np.broadcast_to(stepping if np.ndim(stepping) == 2 else np.asarray(stepping)[:, None], shape)
        runs = np.flatnonzero(copies.any(axis=1)).tolist()
        observations, following = self._current.copy(), self._current.copy()
        rewards = np.zeros(shape)
        terminated, truncated, real = (np.zeros(shape, dtype=bool) for _ in range(3))
        with alive_and_unchanged():
            for r in runs:
                if self._failures[r] is not None:
                    continue
                try:
                    with user_errors():
                        moved = self._runs[r].step(self._checked(actions[r]), copies[r])
                except UserCodeError as error:
                    self._fail(r, error)
                    continue
                if (reason := _wrong(moved)) is not None:
                    self._failures[r] = reason
                    continue
                observations[r], following[r], rewards[r], terminated[r], truncated[r], real[r] = moved
        self._current = following
        failed = {r: reason for r in runs if (reason := self._failures[r]) is not None}
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
        self._failures[r] = reason_of(error)

    def _close(self, r: int) -> None:
        # A failure to close must not lose the results.
        with suppress(UserCodeError), user_code():
            self._runs[r].close()


def reason_of(error: UserCodeError) -> str:
    """What an environment raised, in words, with its file and line where they are known."""
    said, place = str(error), raised_at(error.cause)
    if isinstance(error.cause, SystemExit) and not isinstance(error.cause.code, str):
        said = f"the environment called exit({error.cause.code!r}): let it raise an exception"
    return f"{said} ({place})" if place else said


def _wrong(moved: Moved) -> str | None:
    """The first number of a step that is not finite, or too large, in words; None if there is none."""
    return (
        _unusable("an observation", moved.observations)
        or _unusable("an observation", moved.following)
        or _unusable("a reward", moved.rewards[:, None])
    )


def _unusable(what: str, numbers: np.ndarray) -> str | None:
    found = unusable(numbers)
    return None if found is None else f"copy {found[0]} gave {what} {found[1]}"
