"""From one score a completion to rewards a token: all that RLHF adds to PPO."""

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
    """The score on the last real token, and on every real token the price of leaving the reference.

    r_t = −β (log π(y_t) − log π_ref(y_t)) + [t is the last real token] · score

    Shapes: scores [..., B]; logprobs, ref_logprobs, mask [..., B, T]; beta a number (or broadcasting against
    [..., B, T]) → [..., B, T], 0 at masked places and in a row that has no real token, whose score is not looked at.
    Summed over a row's tokens: score − β k1 of the whole response.
    Source: Ziegler et al. 2019, eq. 2; Ouyang et al. 2022 (InstructGPT), eq. 2.
    Differs: the papers write one reward for the whole response; spread over its tokens so, as codes do, it is the
    return of the first token at γ = 1.
    """
    penalties = beta * torch.where(mask, k1(logprobs, ref_logprobs), 0.0)
    return torch.where(is_last(mask), widen(scores)[..., None], 0.0) - penalties
