"""Steps drawn from a replay buffer, between steps that are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from burnish.batches import Drawn
from burnish.experience.control.buffer import ReplayBuffer, replayed
from burnish.experience.control.rollouts import metrics_of, played, who
from burnish.experience.interface import Experience
from burnish.options import option


@dataclass(frozen=True)
class Replay(Experience):
    """A run makes `train_freq` steps, and then `gradient_steps` updates on steps drawn uniformly from its latest ones.

    Names and defaults are those of Stable-Baselines3's `OffPolicyAlgorithm`; see `burnish.recipes.control.presets` for
    what differs between algorithms.
    """

    normalise_observations: ClassVar[bool] = False
    normalise_rewards: ClassVar[bool] = False

    copies: int = option(1, "copies of the environment that a run steps at once", ge=1, most=10_000)
    train_freq: int = option(1, "steps of each copy between updates", ge=1, most=1_000_000)
    gradient_steps: int = option(1, "updates after train_freq steps", ge=1, most=1_000_000)
    batch_size: int = option(256, "steps per update, drawn from the replay buffer", ge=1, most=1_000_000)
    buffer_size: int = option(
        1_000_000, "latest environment steps of a run from which updates draw", ge=1, most=1_000_000_000
    )
    learning_starts: int = option(
        100, "environment steps of a run, with uniform actions, before its first update", ge=0, most=1_000_000_000
    )
    n_step: int = option(1, "steps of reward before the value of the state that follows", ge=1, most=1000)
    gamma: float = option(0.99, "discount factor", ge=0, le=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.buffer_size < self.copies:
            raise ValueError(f"buffer_size must be at least copies, {self.copies}, not {self.buffer_size}")

    @property
    def rollout(self) -> int:  # type: ignore[override]
        return self.train_freq

    def buffer(self, seeds: Sequence[int], like: Tensor, budget: int | None) -> ReplayBuffer:
        """The buffer of runs with these seeds, with device and type of `like`; no larger than the runs' `budget`."""
        size = self.buffer_size if budget is None else min(self.buffer_size, budget + self.copies)
        return ReplayBuffer(seeds, self.copies, size, self.gamma, self.n_step, like)

    def draw(self, source: Any, number: int, carried: dict[str, float]) -> Drawn | None:
        """Rows for the next updates, after the next steps of the `source`, a `Player` with a `buffer`; None at the end.

        A run that has not made `learning_starts` steps yet has empty rows.
        """
        while (columns := played(source)) is not None:
            source.buffer.add(columns)
            ready = source.ledger.steps >= max(self.learning_starts, 1)
            if ready.any():
                names, progress, _ = who(source)
                noise = source.environments.actions if source.environments.continuous else 0
                rows = source.buffer.draw(ready, self.gradient_steps * self.batch_size, noise)
                return Drawn(replayed(rows, names, progress), metrics_of(source.ledger))
        return None
