"""How far importance weights are from 1, for episodes of which only the first actions count.

The weight of an episode's first t actions, Π_{s ≤ t} π(a_s)/μ(a_s), is what makes an average over episodes of μ one
over those of π, for anything that these actions decide. With T independent choices whose single weight has the variance
v, its variance is (1 + v)^T − 1: it grows exponentially, and the effective sample size falls as (1 + v)^−T.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional import effective_sample_size


def prefix_log_weights(
    logprobs: Float[Tensor, "n t"], old_logprobs: Float[Tensor, "n t"], mask: Bool[Tensor, "n t"], counts: Sequence[int]
) -> Float[Tensor, "c n"]:
    """The log-weight of each episode's first actions, for each of the `counts`; of all where it has no more.

    Σ_{s ≤ min(t, length)} log π(a_s) − log μ(a_s)

    Shapes: [N, T] → [counts, N], in float64. Actions are the places of the `mask`, in their order. That an episode has
    ended is decided by its actions, so E_μ of the weight is 1 for every count.
    Raises ValueError for a count below 1.
    """
    if min(counts) < 1:
        raise ValueError(f"a weight is of 1 action or more, not of {min(counts)}")
    differences = torch.where(mask, logprobs.double() - old_logprobs.double(), 0.0)
    number = mask.cumsum(-1)
    return torch.stack([torch.where(number <= count, differences, 0.0).sum(-1) for count in counts])


def spread(log_weights: Float[Tensor, "n"]) -> dict[str, float]:
    """How unequal weights are.

    `ess` is their effective sample size as a share of their number, `share` the largest one's share of their sum,
    `log_largest` its logarithm, and `log_variance` the variance of the logarithms (population).
    """
    logs = log_weights.double()
    return {
        "ess": effective_sample_size(logs).item(),
        "share": torch.softmax(logs, 0).max().item(),
        "log_largest": logs.max().item(),
        "log_variance": logs.var(correction=0).item(),
    }
