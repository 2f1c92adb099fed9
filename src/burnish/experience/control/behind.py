"""Rollouts that are learned from some turns after they were made, as if they had come out of a replay buffer.

A turn is a rollout and the updates on it. Turn t learns from the rollout that the policy of turn max(0, t − lag) made,
as with `--staleness` of a language model: the policy acts `lag` rollouts ahead of what it learns from.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.batches import Drawn, Transitions
from burnish.functional import log_weights, truncated

Correction = Literal["none", "action", "product", "truncated"]


@dataclass(frozen=True)
class Behind:
    """Late rollouts, and what makes up for it; with a lag of 0 they are untouched.

    `old_logprobs` of a late rollout are those of the policy that is about to learn, π_old, so that its first ratio is 1
    and a trust region is around π_old. With μ the policy that acted, the loss of each step is multiplied by

        none: 1;  action: π_old(a_t)/μ(a_t);  product: Π of these over the row;  truncated: min(product, high)

    A row is an episode, or what a rollout has of one. The critic learns from the late rewards without a correction, as
    do the advantages that come from it.
    """

    lag: int
    correction: Correction = "none"
    high: float = 2.0

    def __call__(self, stream: Iterator[Drawn], player: Any) -> Iterator[Drawn]:
        """The rollouts of the `stream` in their order, each `lag` draws late; the last ones are not learned from.

        `player` makes them. Runs that have left it leave the rollouts that wait.
        """
        waiting: deque[Drawn] = deque()
        for drawn in stream:
            waiting.append(drawn)
            if len(waiting) > self.lag:
                late = waiting.popleft()
                yield late if not self.lag else replace(late, batch=self.corrected(late.batch, player))

    @torch.no_grad()
    def corrected(self, batch: Transitions, player: Any) -> Transitions:
        """A late rollout for the player's policy as it is now."""
        there = [batch.runs.tolist().index(run) for run in player.ledger.names.tolist()]
        batch = of_runs(batch, there)
        logprobs = player.models.policy.logprobs(batch)
        return replace(batch, old_logprobs=logprobs, weights=self.weights(logprobs, batch))

    def weights(self, logprobs: Tensor, batch: Transitions) -> Tensor | None:
        """What the loss of each step is multiplied by, from the acting policy's log-probabilities in the batch."""
        if self.correction == "none":
            return None
        logs = log_weights(
            logprobs, batch.old_logprobs, batch.mask, "token" if self.correction == "action" else "sequence"
        )
        return truncated(logs, 0.0, self.high if self.correction == "truncated" else float("inf"))


def of_runs(batch: Transitions, index: list[int]) -> Transitions:
    """The batch of the runs at these positions."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch) if field.name != "rows"}
    return replace(batch, **{name: value[index] for name, value in values.items() if value is not None})
