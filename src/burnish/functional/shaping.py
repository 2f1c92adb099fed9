"""Per-token rewards from one score per completion: all that RLHF adds to PPO."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional.kl import k1
from burnish.functional.masked import is_last
from burnish.functional.precision import AnyScalar, widen


def kl_shaped_rewards(
    scores: Float[Tensor, "*lead b"],
    logprobs: Float[Tensor, "*lead b t"],
    ref_logprobs: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    beta: AnyScalar,
) -> Float[Tensor, "*lead b t"]:
    """A KL penalty on every token that the policy chose, plus the score on the last one.

    r_t = −β (log π(y_t) − log π_ref(y_t)) + [t is the last chosen token] · score

    Shapes: scores [..., B]; logprobs, ref_logprobs, mask [..., B, T]; beta a number, or a tensor that broadcasts to
    [..., B, T] → [..., B, T]. Masked places get 0, gaps between turns included; in a row without a chosen token the
    score is not read. The sum over a row is score − β k1 of the whole response.
    Source: Ziegler et al. 2019, eq. 2; Ouyang et al. 2022 (InstructGPT), eq. 2.
    Differs: the papers write one reward for the whole response; spread over its tokens like this, as implementations
    do, that reward is the return of the first token at γ = 1.
    """
    penalties = beta * torch.where(mask, k1(logprobs, ref_logprobs), 0.0)
    return torch.where(is_last(mask), widen(scores)[..., None], 0.0) - penalties
