"""Steps the environments of all runs with their policies, and keeps the ledger of their episodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.experience.control.environments import Environments, Transition
from burnish.experience.control.normalise import ObservationNormaliser, RewardNormaliser
from burnish.experience.control.rollouts import Control
from burnish.policies.interface import Models

ACTION_STREAM = 1
NOISE_AT_ONCE = 64
OBSERVATIONS, REWARDS = "observations/", "rewards/"
COLUMNS = ("observations", "actions", "logprobs", "rewards", "terminated", "ended", "real", "reached")


@dataclass(frozen=True)
class Episode:
    """A finished episode. `steps` counts the run's environment steps up to its end."""

    run: int
    episode: int
    return_: float
    length: int
    steps: int


@dataclass
class Ledger:
    """The current episodes of the runs, and the results of the finished ones.

    Episodes are numbered in the order in which they began; those that began together in the order of the copies. The
    runs are numbered from `first`. A run is finished when all of its first `episodes` have ended; episodes that began
    later are not counted.
    """

    runs: int
    copies: int
    episodes: int
    first: int = 0
    finished: list[Episode] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = self.first + np.arange(self.runs)
        self.begun = np.zeros(self.runs, dtype=np.int64)
        self.ended = np.zeros(self.runs, dtype=np.int64)
        self.steps = np.zeros(self.runs, dtype=np.int64)
        self.numbers = np.zeros((self.runs, self.copies), dtype=np.int64)
        self.returns = np.zeros((self.runs, self.copies))
        self.lengths = np.zeros((self.runs, self.copies), dtype=np.int64)

    def begin(self, which: np.ndarray) -> None:
        """New episodes in the copies `which`, `[R, E]`."""
        self.numbers = np.where(which, self.begun[:, None] + which.cumsum(1), self.numbers)
        self.begun += which.sum(1)
        self.returns[which], self.lengths[which] = 0.0, 0

    def add(self, moved: Transition, counted: np.ndarray) -> np.ndarray:
        """Add one step in the copies `counted`, and return where an episode ended."""
        self.returns += np.where(counted, moved.rewards, 0.0)
        self.lengths += counted
        self.steps += counted.sum(1)
        ended = (moved.terminated | moved.truncated) & counted
        if ended.any():
            for r, e in np.argwhere(ended):
                if self.numbers[r, e] <= self.episodes:
                    self.ended[r] += 1
                    row = (self.names[r], self.numbers[r, e], self.returns[r, e], self.lengths[r, e], self.steps[r])
                    self.finished.append(Episode(*(x.item() for x in row)))
        return ended

    def where(self, r: int) -> str:
        """The current episodes of the run at position r, as the beginning of a sentence."""
        first, last = self.numbers[r].min(), self.numbers[r].max()
        return f"in episode {first}, " if first == last else f"in one of episodes {first} to {last}, "

    def keep(self, index: np.ndarray) -> None:
        for name in ("names", "begun", "ended", "steps", "numbers", "returns", "lengths"):
            setattr(self, name, getattr(self, name)[index])


class Player:
    """Steps the environments of all runs with their policies, from their own streams of noise.

    `failed` says per run number what went wrong in its environment, and `retired` holds the weights of the runs that
    have finished, as they were when their last episode ended, with the statistics of their observations. `kept` holds
    what training would go on from: the statistics of their rewards, and what `beside` gives for a run's number.
    `report` is called with the ledger after each rollout. `updates` counts the group's, at its end.
    """

    def __init__(
        self,
        models: Models,
        knobs: Control,
        environments: Environments,
        seeds: Sequence[int],
        episodes: int,
        first: int = 0,
        report: Callable[[Ledger], None] = lambda ledger: None,
    ) -> None:
        self.models, self.knobs, self.environments, self.report = models, knobs, environments, report
        self.streams = [np.random.Generator(np.random.PCG64([seed, ACTION_STREAM])) for seed in seeds]
        runs, copies = len(seeds), knobs.copies
        self.ledger = Ledger(runs, copies, episodes, first)
        self.seen = ObservationNormaliser(runs, environments.observations) if knobs.normalise_observations else None
        self.earned = RewardNormaliser(runs, copies, knobs.gamma) if knobs.normalise_rewards else None
        self.current: np.ndarray | None = None
        self.failed: dict[int, str] = {}
        self.retired: dict[int, dict[str, Tensor]] = {}
        self.kept: dict[int, dict[str, Tensor]] = {}
        self.beside: Callable[[int], dict[str, Tensor]] = lambda number: {}
        self.updates = 0

    def play(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """One rollout: `[T, R, E, …]` arrays by name, and the runs that failed in it `[R]`."""
        whole = self.knobs.rollout is None
        if self.current is None or whole:
            self.current = self._shown(self.environments.reset())
            self.ledger.begin(np.ones(self.current.shape[:2], dtype=bool))
        waiting = np.zeros(self.current.shape[:2], dtype=bool)
        failing = np.zeros(len(waiting), dtype=bool)
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        at_once, noise, t = min(self.knobs.rollout or NOISE_AT_ONCE, NOISE_AT_ONCE), np.empty(0), 0
        while not waiting.all() if whole else t < self.knobs.rollout:  # type: ignore[operator]
            stepping = ~(waiting.all(1) | failing)
            if not stepping.any():
                break
            if t % at_once == 0:
                noise = self._noise(stepping, at_once)
            actions, logprobs = self._act(self.current, noise[:, t % at_once])
            moved = self.environments.step(actions, stepping)
            for r, reason in moved.failed.items():
                failing[r] = True
                self.failed[int(self.ledger.names[r])] = self.ledger.where(r) + reason
            counted = moved.real & ~waiting
            ended = self.ledger.add(moved, counted)
            reached, rewards = self._reached(moved, ended, counted)
            row = (self.current, actions, logprobs, rewards, moved.terminated, ended, counted, reached)
            for name, values in zip(COLUMNS, row, strict=True):
                columns[name].append(values)
            self.current = self._shown(moved.following, counted)
            if whole:
                waiting |= ended
            elif ended.any():
                self.ledger.begin(ended)
            t += 1
        return {name: np.stack(values) for name, values in columns.items()}, failing

    def _act(self, observations: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        policy: Any = self.models.policy
        device, dtype = policy.theta.device, policy.theta.dtype
        shown = torch.from_numpy(observations).to(device, dtype)
        actions, logprobs = policy.act(shown, torch.from_numpy(noise).to(device, dtype))
        return actions.cpu().numpy(), logprobs.cpu().numpy()

    def _noise(self, stepping: np.ndarray, steps: int) -> np.ndarray:
        """Noise for the next `steps` actions `[R, t, E, …]`; a waiting run draws none, as if it were alone."""
        shape: tuple[int, ...] = (steps, self.knobs.copies)
        if self.environments.continuous:
            shape = (*shape, self.environments.actions)
        theta: Any = next(iter(self.models.policy.parameters().values()))
        # Drawn in the policy's dtype: a number just below 1 would be rounded to 1 in a shorter one.
        dtype: Any = np.float64 if theta.dtype == torch.float64 else np.float32
        noise = np.zeros((len(self.streams), *shape), dtype)
        for r in np.flatnonzero(stepping):
            draw = self.streams[r].standard_normal if self.environments.continuous else self.streams[r].random
            noise[r] = draw(shape, dtype)
        return noise

    def _shown(self, observations: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
        """Observations as the policy sees them, after they were added to the running statistics."""
        if self.seen is None:
            return observations
        self.seen.update(observations, np.ones(observations.shape[:2], dtype=bool) if counted is None else counted)
        return self.seen(observations)

    def _reached(self, moved: Transition, ended: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The observation that a step led to, and its reward, normalised for policy and critic."""
        reached = moved.observations if self.seen is None else self.seen(moved.observations)
        return reached, moved.rewards if self.earned is None else self.earned(moved.rewards, ended, counted)

    def retire(self, over: np.ndarray) -> np.ndarray:
        """Remove the runs `over` `[R]`, and return the positions of the remaining ones."""
        remaining = np.flatnonzero(~over)
        if not over.any():
            return remaining
        trained: Any = self.models.trained()
        weights = {f"{part}/{name}": x for part, model in trained.items() for name, x in model.named().items()}
        for r in np.flatnonzero(over).tolist():
            number = int(self.ledger.names[r])
            self.retired[number] = {name: stacked[r].clone() for name, stacked in weights.items()}
            self.retired[number] |= statistics(OBSERVATIONS, self.seen, r)
            self.kept[number] = self.beside(number) | statistics(REWARDS, self.earned, r)
        for model in trained.values():
            model.keep(torch.from_numpy(remaining))
        self.environments.keep(remaining.tolist())
        self.ledger.keep(remaining)
        self.streams = [self.streams[r] for r in remaining]
        for normaliser in (self.seen, self.earned):
            if normaliser is not None:
                normaliser.keep(remaining.tolist())
        if self.current is not None:
            self.current = self.current[remaining]
        return remaining


def statistics(prefix: str, normaliser: ObservationNormaliser | RewardNormaliser | None, run: int) -> dict[str, Tensor]:
    """The statistics of the run at this position, as they are saved; nothing without a normaliser."""
    found = {} if normaliser is None else normaliser.moments.named(run)
    return {f"{prefix}{name}": torch.from_numpy(value) for name, value in found.items()}
