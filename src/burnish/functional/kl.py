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

FAR = -1e4
"""The smallest log-probability that a mixture is made with: its exponential is 0."""


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


def generalised_js(
    logits_p: Float[Tensor, "*#shape actions"], logits_q: Float[Tensor, "*#shape actions"], beta: float
) -> Float[Tensor, "*shape"]:
    """The generalised Jensen-Shannon divergence, between KL(p‖q) at β = 0 and KL(q‖p) at β = 1.

    β KL(p‖m) + (1 − β) KL(q‖m),  m = β p + (1 − β) q

    Shapes: logits [..., A], broadcasting → [...]. Equal logits give exactly 0.
    Source: Agarwal et al. 2024 (GKD), with p the teacher; divided by β or 1 − β it tends to the KL divergences.
    Differs: at β = 0 and 1 the formula is 0 whatever p and q are; here it is what it tends to, divided so, as in TRL.
    """
    if beta in (0, 1):
        return categorical_kl(logits_q, logits_p) if beta else categorical_kl(logits_p, logits_q)
    logprobs_p, logprobs_q = (log_softmax(logits).clamp(min=FAR) for logits in (logits_p, logits_q))
    d = logprobs_p - logprobs_q
    # log(m/q) and log(m/p), each from the side on which its exponential is at most 1.
    above, below = torch.where(d > 0, d, 0.0), torch.where(d > 0, 0.0, d)
    over_q = torch.where(d > 0, above + ((1 - beta) * (-above).expm1()).log1p(), (beta * below.expm1()).log1p())
    over_p = torch.where(d > 0, ((1 - beta) * (-above).expm1()).log1p(), (beta * below.expm1()).log1p() - below)
    terms = beta * logprobs_p.exp() * over_p + (1 - beta) * logprobs_q.exp() * over_q
    return -torch.where(d == 0, 0.0, terms).sum(-1)  # where p = q neither value nor slope is left to rounding
