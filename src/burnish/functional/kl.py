"""KL divergence: exact, and estimated from samples.

The three estimators estimate KL(policy‖reference), in nats, from an action sampled from the *policy*. All are
differentiable, but the gradient of an estimate is not an estimate of the gradient: under the policy, E[∇k1] = 0,
E[∇k2] = ∇KL(policy‖reference), and E[∇k3] = ∇KL(reference‖policy), the opposite direction.
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
    """Exact KL(p‖q) between two distributions over the same actions.

    Σ_a p(a) (log p(a) − log q(a)), where 0 · log 0 = 0

    Shapes: logits [..., A], broadcasting → [...]. An action that is impossible under p contributes 0, whatever its
    probability under q; one that is possible under p and impossible under q makes the KL ∞.
    """
    logprobs_p, logprobs_q = log_softmax(logits_p), log_softmax(logits_q)
    possible_p, impossible_q = logprobs_p != -math.inf, logprobs_q == -math.inf
    both = possible_p & ~impossible_q
    safe_p, safe_q = torch.where(both, logprobs_p, 0.0), torch.where(both, logprobs_q, 0.0)
    terms = torch.where(both, safe_p.exp() * (safe_p - safe_q), 0.0)
    return torch.where(possible_p & impossible_q, math.inf, terms).sum(-1)


def k1(logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The plain KL estimator: unbiased, with high variance, often negative.

    log π(a) − log π_ref(a)

    Shapes: any, elementwise. Source: Schulman 2020, "Approximating KL divergence".
    """
    return widen(logprobs) - widen(ref_logprobs)


def k2(logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The squared KL estimator: biased, with low variance, never negative; its gradient is unbiased.

    ½ (log π(a) − log π_ref(a))²

    Shapes: any, elementwise. Source: Schulman 2020, "Approximating KL divergence".
    """
    return 0.5 * k1(logprobs, ref_logprobs).square()


def k3(logprobs: Float[Tensor, "*#shape"], ref_logprobs: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The KL estimator with a control variate: unbiased and never negative.

    e^{−d} − 1 + d,  d = log π(a) − log π_ref(a)

    Shapes: any, elementwise. Source: Schulman 2020, "Approximating KL divergence"; Shao et al. 2024 (GRPO), eq. 4.
    Differs: e^{−d} − 1 is computed by `expm1`, so that nearly equal policies do not give rounding errors. It is not
    clipped, as some implementations do: an action far likelier under the reference overflows to ∞.
    """
    difference = k1(logprobs, ref_logprobs)
    return (-difference).expm1() + difference
