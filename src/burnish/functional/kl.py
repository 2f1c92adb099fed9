"""How far one distribution lies from another: the exact divergence, and what one sample tells of it.

The three estimators are of KL(policy‖reference), for an action sampled from the *policy*, in nats. All are
differentiable, but the gradient of an estimate is not an estimate of the gradient: under the policy, E[∇k1] = 0,
E[∇k2] = ∇KL(policy‖reference), and E[∇k3] = ∇KL(reference‖policy), the other direction.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.functional.categorical import log_softmax
from burnish.functional.precision import widen


def categorical_kl(
    logits_p: Float[Tensor, "*#shape actions"], logits_q: Float[Tensor, "*#shape actions"]
) -> Float[Tensor, "*shape"]:
    """Exact divergence KL(p‖q) of two distributions over the same actions.

    Σ_a p(a) (log p(a) − log q(a)), where 0 · log 0 = 0

    Shapes: logits [..., A], broadcasting → [...]. An action that p cannot take adds 0, whatever q says; one that p can
    take and q cannot makes the divergence ∞.
    """
    logprobs_p, logprobs_q = log_softmax(logits_p), log_softmax(logits_q)
    possible_p, impossible_q = logprobs_p != -math.inf, logprobs_q == -math.inf
    both = possible_p & ~impossible_q
    safe_p, safe_q = torch.where(both, logprobs_p, 0.0), torch.where(both, logprobs_q, 0.0)
    terms = torch.where(both, safe_p.exp() * (safe_p - safe_q), 0.0)
    return torch.where(possible_p & impossible_q, math.inf, terms).sum(-1)


def k1(logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The plain estimator: unbiased, of high variance, and often negative.

    log π(a) − log π_ref(a)

    Shapes: any, elementwise. Source: Schulman 2020, "Approximating KL divergence".
    """
    return widen(logprobs) - widen(ref_logprobs)


def k2(logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The squared estimator: never negative, of low variance, biased, and its gradient is unbiased.

    ½ (log π(a) − log π_ref(a))²

    Shapes: any, elementwise. Source: Schulman 2020, "Approximating KL divergence".
    """
    return 0.5 * k1(logprobs, ref_logprobs).square()


def k3(logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The estimator with a control variate: unbiased and never negative.

    e^{−d} − 1 + d,  d = log π(a) − log π_ref(a)

    Shapes: any, elementwise. Source: Schulman 2020, "Approximating KL divergence"; Shao et al. 2024 (GRPO), eq. 4.
    Differs: e^{−d} − 1 is one `expm1`, so that policies that hardly differ do not come out as rounding errors. It is
    not clipped, as some codes do: an action far likelier under the reference overflows to ∞.
    """
    difference = k1(logprobs, ref_logprobs)
    return (-difference).expm1() + difference
