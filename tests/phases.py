"""The two phases of preparation, and sampled episodes, as the tests of algorithms need them."""

from typing import Any

import torch
from torch import Tensor

from burnish.batches import Episodes, Transitions
from burnish.training.step import prepared


def ready(algorithm: Any, models: Any, batch: Any, **carried: Any) -> Any:
    """The batch prepared as one whole, with what `conclude` may have carried from the rollout before."""
    (found,) = prepared(algorithm, models, [batch], carried)
    return found


def sampled(
    tokens: Tensor,
    mask: Tensor,
    lengths: Tensor,
    rows: Tensor,
    old_logprobs: Tensor,
    rewards: Tensor,
    discounts: Tensor,
) -> Episodes:
    """Episodes whose sampler was the policy itself."""
    limit = torch.tensor(tokens.shape[-1])
    return Episodes(tokens, mask, lengths, rows, old_logprobs, old_logprobs, rewards, discounts, limit)


def acted(observations: Tensor, actions: Tensor, runs: Tensor, **steps: Any) -> Transitions:
    """Transitions of runs of which nothing is said about how far they are."""
    progress = torch.zeros(len(runs), dtype=observations.dtype)
    return Transitions(observations=observations, actions=actions, runs=runs, progress=progress, **steps)
