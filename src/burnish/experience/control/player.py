"""Steps the environments of all runs with their policies, and keeps the ledger of their episodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.experience.control.buffer import ReplayBuffer
from burnish.experience.control.environments import Environments, Transition
from burnish.experience.control.exploring import Exploration
from burnish.experience.control.normalise import ObservationNormaliser, RewardNormaliser
from burnish.experience.control.rollouts import Knobs
from burnish.policies.control.network import noise_shape
from burnish.policies.interface import Models

ACTION_STREAM = 1
NOISE_AT_ONCE = 64
OBSERVATIONS, REWARDS = "observations/", "rewards/"
LONGEST_EPISODE = 100_000
"""Steps of one whole episode; with more of them, one that never ends would fill the memory."""
TOO_LONG = (
    f"an episode has not ended after {LONGEST_EPISODE:,} steps: set max_episode_steps in env_options, or choose an "
    "algorithm that learns from steps"
)
LARGE, SMALL = 100.0, 1e-3
"""Sizes of observations beyond which a network that begins with weights for numbers near 1 hardly learns."""
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
    runs are numbered from `first`. A run is over when all of its first `episodes` have ended, or when it has taken
    `budget` environment steps; episodes that began later, or have not ended by then, are not counted.
    """

    runs: int
    copies: int
    episodes: int
    first: int = 0
    budget: int | None = None
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

    def over(self) -> np.ndarray:
        """The runs that are over, `[R]`."""
        return (self.ended >= self.episodes) | self.spent()

    def spent(self) -> np.ndarray:
        """The runs that have taken all their steps, `[R]`."""
        return np.zeros(len(self.steps), dtype=bool) if self.budget is None else self.steps >= self.budget

    def progress(self) -> np.ndarray:
        """The share of its episodes or steps that each run has behind it, `[R]`."""
        share = self.ended / self.episodes
        return share if self.budget is None else np.maximum(share, self.steps / self.budget)

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
    `report` is called with the ledger after each rollout, and `interrupted` is asked before each step whether Ctrl-C
    was pressed. With an `exploration`, not all actions are the policy's; a `buffer` is what `Replay` draws from.
    Whoever finds that a run cannot go on adds it to `failed`; it leaves before the next rollout.
    """

    def __init__(
        self,
        models: Models,
        knobs: Knobs,
        environments: Environments,
        seeds: Sequence[int],
        episodes: int,
        first: int = 0,
        report: Callable[[Ledger], None] = lambda ledger: None,
        budget: int | None = None,
    ) -> None:
        self.models, self.knobs, self.environments, self.report = models, knobs, environments, report
        self.interrupted: Callable[[], bool] = lambda: False
        self.streams = [np.random.Generator(np.random.PCG64([seed, ACTION_STREAM])) for seed in seeds]
        runs, copies = len(seeds), knobs.copies
        self.ledger = Ledger(runs, copies, episodes, first, budget)
        self.seen = ObservationNormaliser(runs, environments.observations) if knobs.normalise_observations else None
        self.earned = RewardNormaliser(runs, copies, knobs.gamma) if knobs.normalise_rewards else None
        self.exploration: Exploration | None = None
        self.buffer: ReplayBuffer | None = None
        self.current: np.ndarray | None = None
        self.looked = False
        self.caution: str | None = None
        self.failed: dict[int, str] = {}
        self.retired: dict[int, dict[str, Tensor]] = {}
        self.kept: dict[int, dict[str, Tensor]] = {}
        self.beside: Callable[[int], dict[str, Tensor]] = lambda number: {}

    def play(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """One rollout: `[T, R, E, …]` arrays by name, and the runs that failed in it `[R]`."""
        whole = self.knobs.rollout is None
        if self.current is None or whole:
            begun = self.environments.reset() if self.current is None else self.environments.begin()
            self.current = self._shown(begun)
            self.ledger.begin(np.ones(self.current.shape[:2], dtype=bool))
        waiting = np.zeros(self.current.shape[:2], dtype=bool)
        failing = np.zeros(len(waiting), dtype=bool)
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        at_once, noise, t = min(self.knobs.rollout or NOISE_AT_ONCE, NOISE_AT_ONCE), np.empty(0), 0
        while whole or t < self.knobs.rollout:  # type: ignore[operator]
            if self.interrupted():
                raise KeyboardInterrupt
            stepping = ~waiting & ~(failing | self.ledger.spent())[:, None]
            if not stepping.any():
                break
            if t % at_once == 0:
                noise = self._noise(stepping.any(1), at_once)
            actions, logprobs = self._act(self.current, noise[:, t % at_once])
            if not np.isfinite(logprobs).all():
                stepping &= ~self._lost(stepping, logprobs, failing)[:, None]
            if self.exploration is not None:
                actions = self.exploration(actions, self.ledger)
            moved = self.environments.step(actions, stepping)
            for r, reason in moved.failed.items():
                self._fail(r, reason, failing)
            counted = moved.real & stepping
            ended = self.ledger.add(moved, counted)
            reached, rewards = self._reached(moved, ended, counted)
            row = (self.current, actions, logprobs, rewards, moved.terminated, ended, counted, reached)
            for name, values in zip(COLUMNS, row, strict=True):
                columns[name].append(values)
            # A whole episode's next one begins with the next rollout.
            self.current = self._shown(moved.following, counted & ~ended if whole else counted)
            if whole:
                waiting |= ended
            elif ended.any():
                self.ledger.begin(ended)
            t += 1
            if whole and t == LONGEST_EPISODE:
                for r in np.flatnonzero(stepping.any(1) & ~waiting.all(1)).tolist():
                    self._fail(r, TOO_LONG, failing)
        rollout = {name: np.stack(values) for name, values in columns.items()}
        if not self.looked and self.seen is None and self.environments.image is None:
            self.caution = ill_scaled(rollout["observations"], rollout["real"])
        self.looked = True
        return rollout, failing

    def _fail(self, r: int, reason: str, failing: np.ndarray) -> None:
        failing[r] = True
        self.failed[int(self.ledger.names[r])] = self.ledger.where(r) + reason

    def _lost(self, stepping: np.ndarray, logprobs: np.ndarray, failing: np.ndarray) -> np.ndarray:
        """The runs whose policy gives no number any more, `[R]`: they fail."""
        lost = (stepping & ~np.isfinite(logprobs)).any(1)
        for r in np.flatnonzero(lost).tolist():
            self._fail(r, "the policy's outputs overflow float32: lower the learning rate", failing)
        return lost

    def _act(self, observations: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        policy: Any = self.models.policy
        device, dtype = policy.theta.device, policy.theta.dtype
        shown = torch.from_numpy(observations).to(device, None if observations.dtype == np.uint8 else dtype)
        actions, logprobs = policy.act(shown, torch.from_numpy(noise).to(device, dtype))
        return actions.cpu().numpy(), logprobs.cpu().numpy()

    def _noise(self, stepping: np.ndarray, steps: int) -> np.ndarray:
        """Noise for the next `steps` actions `[R, t, E, …]`; a waiting run draws none, as if it were alone."""
        shape = (steps, self.knobs.copies, *noise_shape(self.environments))
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
        for part in self.models.parts.values():  # copies that follow the trained ones too
            part.model.keep(torch.from_numpy(remaining))
        self.environments.keep(remaining.tolist())
        self.ledger.keep(remaining)
        self.streams = [self.streams[r] for r in remaining]
        for one in (self.seen, self.earned, self.exploration, self.buffer):
            if one is not None:
                one.keep(remaining.tolist())
        if self.current is not None:
            self.current = self.current[remaining]
        return remaining


def statistics(prefix: str, normaliser: ObservationNormaliser | RewardNormaliser | None, run: int) -> dict[str, Tensor]:
    """The statistics of the run at this position, as they are saved; nothing without a normaliser."""
    found = {} if normaliser is None else normaliser.moments.named(run)
    return {f"{prefix}{name}": torch.from_numpy(value) for name, value in found.items()}


def ill_scaled(observations: np.ndarray, real: np.ndarray) -> str | None:
    """What is wrong with the size of observations `[T, R, E, O]`, where they are `real`, for a network; None if nothing
    is. The size is the largest root mean square of a number."""
    seen = observations[real].astype(np.float64)
    size = float(np.sqrt((seen**2).mean(0)).max()) if len(seen) else 0.0
    if SMALL <= size <= LARGE or not size:
        return None
    return f"observations are as {'large' if size > 1 else 'small'} as {size:.3g}, at which a network hardly learns"
