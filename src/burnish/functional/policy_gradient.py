"""Policy objectives as losses to minimise, one per step: elementwise, of any shape, unreduced.

They take no mask: `aggregate` selects afterwards. Values that are not finite at masked places must be replaced
*before*, because a gradient of 0 times an infinite ratio is NaN.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional.masked import masked_mean, masked_sum
from burnish.functional.precision import Scalar, widen


def policy_gradient(
    logprobs: Float[Tensor, "*#shape"], advantages: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """REINFORCE: a loss whose gradient is the policy gradient; its value has no meaning.

    −A log π(a)

    Shapes: any, broadcasting (one advantage per sequence: [..., B, 1]).
    Source: Williams 1992; Sutton & Barto 2018, eq. 13.11.
    Differs: the book's algorithm weights step t by γᵗ; this one does not, as nearly all implementations.
    """
    return -widen(logprobs) * widen(advantages)


def surrogate(
    logprobs: Float[Tensor, "*#shape"], old_logprobs: Float[Tensor, "*#shape"], advantages: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Negative importance-weighted advantage: the policy's, estimated from actions that the old policy sampled.

    −A π(a)/π_old(a)

    Shapes: any, broadcasting. At π = π_old its gradient is the policy gradient.
    Source: Schulman et al. 2015 (TRPO); Schulman et al. 2017 (PPO), eq. 6.
    """
    return -(widen(logprobs) - widen(old_logprobs)).exp() * widen(advantages)


def clipped_surrogate(
    logprobs: Float[Tensor, "*#shape"],
    old_logprobs: Float[Tensor, "*#shape"],
    advantages: Float[Tensor, "*#shape"],
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    dual_clip: float | None = None,
) -> Float[Tensor, "*shape"]:
    """PPO: the surrogate with a clipped ratio, so that moving it past the clip range gains nothing.

    −min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A),  ρ = π(a)/π_old(a);  at least A·dual_clip where A < 0

    Shapes: any, broadcasting. A ratio is clipped, and has gradient 0, only if it left the range *in the direction* of
    the advantage; a ratio exactly at the end of the range keeps its gradient. `dual_clip` (above 1) also limits the
    ratio of a negative advantage, which is otherwise unlimited from above.
    Source: Schulman et al. 2017 (PPO), eq. 7, with one ε for both sides; Ye et al. 2020 (dual clip).
    """
    log_ratio, advantages = widen(logprobs) - widen(old_logprobs), widen(advantages)
    ratio = log_ratio.detach().exp()
    clipped = ratio.clamp(min=1 - clip_low).clamp(max=1 + clip_high)
    outside = clipped * advantages < ratio * advantages
    if dual_clip is not None:
        beyond = (advantages < 0) & (ratio > dual_clip)
        clipped, outside = torch.where(beyond, dual_clip, clipped), outside | beyond
    # A clipped ratio may overflow: its exponential must not be on the gradient's path.
    kept = torch.where(outside, 0.0, log_ratio).exp()
    return -torch.where(outside, clipped, kept) * advantages


def clipped_weight(
    logprobs: Float[Tensor, "*#shape"],
    old_logprobs: Float[Tensor, "*#shape"],
    advantages: Float[Tensor, "*#shape"],
    clip_low: Scalar,
    clip_high: Scalar,
) -> Float[Tensor, "*shape"]:
    """CISPO: REINFORCE with a clipped importance weight that is a constant, so that every token keeps a gradient.

    −sg[clip(ρ, 1 − clip_low, 1 + clip_high)] A log π(a),  ρ = π(a)/π_old(a),  sg: no gradient

    Shapes: any, broadcasting; an infinite `clip_low` is no lower limit, since a ratio is positive.
    Source: MiniMax 2025 (MiniMax-M1), eqs. 4 and 5.
    """
    logprobs = widen(logprobs)
    ratio = (logprobs.detach() - widen(old_logprobs)).exp()
    return -ratio.clamp(min=1 - clip_low).clamp(max=1 + clip_high) * widen(advantages) * logprobs


def sequence_log_ratio(
    logprobs: Float[Tensor, "*lead b t"],
    old_logprobs: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    mean: bool,
) -> Float[Tensor, "*lead b"]:
    """log of one probability ratio for a whole sequence, or of its geometric mean per token.

    Σ_t m (log π − log π_old), divided by Σ_t m with `mean`

    Shapes: [..., B, T] → [..., B]; 0 for a row without a real token.
    Source: Zheng et al. 2025 (GSPO), eq. 7, which takes the mean; Ahmadian et al. 2024 (RLOO) treat the whole
    completion as one action, whose ratio is the exponential of the sum.
    """
    difference = widen(logprobs) - widen(old_logprobs)
    return (masked_mean if mean else masked_sum)(difference, mask, -1)
