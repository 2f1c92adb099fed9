"""Single steps, each learned from once, as soon as it is made."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from burnish.batches import Drawn, Replayed
from burnish.experience.control.rollouts import metrics_of, played, who
from burnish.experience.interface import Experience
from burnish.options import option


@dataclass(frozen=True)
class Stepwise(Experience):
    """One environment per run, and one step of it at a time."""

    copies: ClassVar[int] = 1
    rollout: ClassVar[int] = 1  # type: ignore[misc]
    learning_starts: ClassVar[int] = 0
    normalise_observations: ClassVar[bool] = False
    normalise_rewards: ClassVar[bool] = False

    gamma: float = option(0.99, "discount factor", ge=0, le=1)

    def draw(self, source: Any, number: int, carried: dict[str, float]) -> Drawn | None:
        """The next step of each run, played by the `source`, a `Player`; None at the end."""
        while (columns := played(source)) is not None:
            if columns["real"].any():
                return Drawn(self._rows(columns, *who(source)), metrics_of(source.ledger))
        return None

    def _rows(self, columns: dict[str, np.ndarray], names: Tensor, progress: Tensor, like: Tensor) -> Replayed:
        step = {name: values[0] for name, values in columns.items()}
        real = step["real"]
        discounts = np.where(real & ~step["terminated"], self.gamma, 0.0)
        tensor = lambda x: torch.from_numpy(x).to(like.device, like.dtype)  # noqa: E731
        return Replayed(
            observations=tensor(step["observations"]),
            actions=torch.from_numpy(step["actions"]).to(like.device),
            rewards=tensor(np.where(real, step["rewards"], 0.0))[..., None],
            discounts=tensor(discounts)[..., None],
            mask=torch.from_numpy(real)[..., None].to(like.device),
            reached=tensor(step["reached"]),
            lengths=torch.from_numpy(real.astype(np.int64)).to(like.device),
            rows=torch.arange(1, device=like.device),
            runs=names,
            progress=progress,
        )
