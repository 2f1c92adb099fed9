"""Corrections for samples that another distribution drew than the policy that is trained on them.

The same weights in two programs, or in two precisions, give different log-probabilities, so that even "on-policy"
samples are a little off-policy. ρ = π_old(y)/μ(y), with μ the sampler.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional.masked import masked_mean, masked_sum
from burnish.functional.precision import widen

Level = Literal["token", "sequence", "sequence_mean"]


def log_weights(
    old_logprobs: Float[Tensor, "*lead b t"],
    sampler_logprobs: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    level: Level = "token",
) -> Float[Tensor, "*lead b t"]:
    """log ρ of each token, or of its whole sequence; 0 at masked places.

    token: log π_old(y_t) − log μ(y_t);  sequence: Σ_t of these;  sequence_mean: their mean

    Shapes: [..., B, T] → [..., B, T]; a sequence's number stands at each of its tokens.
    Source: of the three only "sequence" makes E_μ[ρ f] = E_π[f] for every f; "token" is what Yao et al. 2025 ("Your
    Efficient RL Framework Secretly Brings You Off-Policy RL Training") use.
    """
    difference = torch.where(mask, widen(old_logprobs) - widen(sampler_logprobs), 0.0)
    if level == "token":
        return difference
    total = (masked_sum if level == "sequence" else masked_mean)(difference, mask, -1)
    return torch.where(mask, total[..., None], 0.0)


def truncated(log_weights: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """Truncated importance weights: biased, with limited variance.

    min(max(ρ, low), high)

    Shapes: any, elementwise. Source: Ionides 2008, "Truncated Importance Sampling", with low = 0.
    """
    return log_weights.exp().clamp(min=low).clamp(max=high)


def masked_outside(log_weights: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """Importance weights that are 0 outside of a range.

    ρ·1[low ≤ ρ ≤ high]

    Shapes: any, elementwise. Source: Ling Team 2025 (IcePop), per token.
    """
    weights = log_weights.exp()
    return torch.where((weights >= low) & (weights <= high), weights, 0.0)


def effective_sample_size(log_weights: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The share of samples that importance weights leave: 1 where all are equal, 1/n where one outweighs all others.

    (Σ ρ)² / (n Σ ρ²)

    Shapes: [N] → one number. Source: Kish 1965.
    """
    weights = (widen(log_weights) - widen(log_weights).max()).exp()  # a factor in all of them cancels
    return weights.sum().square() / (weights.numel() * weights.square().sum())
