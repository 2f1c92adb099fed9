"""Updates on replayed rows, and the copies of models that follow them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from burnish.batches import Replayed
from burnish.training.control.lockstep import LockstepLearner
from burnish.training.resume import State


class RowLearner(LockstepLearner):
    """One gradient step of every model on each `batch_size` rows of what was drawn; then the copies follow."""

    def minibatches(self, batch: Replayed, state: State) -> Iterator[Replayed]:  # type: ignore[override]
        """The rows in the order in which they were drawn, each once."""
        self.going = torch.tensor([run not in self.failed for run in self.runs], device=batch.mask.device)
        yield from batch.split(self.steps.batch_size or len(batch))

    def update(self, part: Any, state: State, first: bool) -> dict[str, Any] | None:
        before = self.updates
        metrics = super().update(part, state, first)
        if self.algorithm.follows and metrics is not None:
            after = self.updates
            self.follow([after[run] if after[run] > before[run] else 0 for run in self.runs])
        return metrics

    @torch.no_grad()
    def follow(self, counts: list[int]) -> None:
        """Move the copies of the runs that have just made their update of this number; 0: none was made."""
        updates = torch.tensor(counts)
        share = torch.where(updates > 0, self.algorithm.following(updates), 0.0)
        if not share.any():
            return
        for copy, model in self.algorithm.follows.items():
            (copied,), (theta,) = (self.models.parts[name].model.parameters().values() for name in (copy, model))
            move(copied, theta, share.to(theta)[:, None])


def move(copied: Tensor, theta: Tensor, share: Tensor) -> None:
    """θ′ ← θ′ + τ (θ − θ′) in place, and θ′ ← θ exactly where τ is 1."""
    copied.copy_(torch.where(share == 1, theta, copied + share * (theta - copied)))
