"""Objectives of the policy, one number per step, as losses to minimise: elementwise, of any shape, never reduced.

They know no mask: `aggregate` selects after them. What is not finite at a masked place must be replaced *before*, since
a gradient of 0 into an infinite ratio is NaN.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.functional.precision import Scalar, widen


def policy_gradient(
    logprobs: Float[Tensor, "*#shape"], advantages: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """REINFORCE: its gradient is the policy gradient, its value means nothing.

    −A log π(a)

    Shapes: any, broadcasting (one advantage per sequence: [..., B, 1]).
    Source: Williams 1992; Sutton & Barto 2018, eq. 13.11.
    Differs: from the book's algorithm, which weights step t by γᵗ, by leaving that out, as nearly all codes do.
    """
    return -widen(logprobs) * widen(advantages)


def surrogate(
    logprobs: Float[Tensor, "*#shape"], old_logprobs: Float[Tensor, "*#shape"], advantages: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """The advantage under the policy, estimated with actions that the old policy sampled.

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
) -> Float[Tensor, "*shape"]:
    """PPO: the surrogate, with nothing to gain from moving the ratio past the clip range.

    −min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A),  ρ = π(a)/π_old(a)

    Shapes: any, broadcasting. Only the side on which the ratio moved too far *with* the advantage is clipped, and has
    gradient 0; a ratio exactly at the end of the range still has its gradient.
    Source: Schulman et al. 2017 (PPO), eq. 7, with one ε for both sides.
    """
    log_ratio, advantages = widen(logprobs) - widen(old_logprobs), widen(advantages)
    ratio = log_ratio.detach().exp()
    clipped = ratio.clamp(min=1 - clip_low).clamp(max=1 + clip_high)
    outside = clipped * advantages < ratio * advantages
    # A clipped ratio may be so large that it overflows: its exponential must not lie on the gradient's path.
    kept = torch.where(outside, 0.0, log_ratio).exp()
    return -torch.where(outside, clipped, kept) * advantages
