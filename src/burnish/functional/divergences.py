"""DPO with divergences other than the reverse KL: the implicit reward as a function of the log-ratio.

The policy that maximises E[r] − β·D_f(π‖π_ref) satisfies r(y) = β·f′(π(y)/π_ref(y)), up to a constant per prompt, if
f′ is invertible and every response keeps a positive probability. The functions below are f′(u) at u = exp(logratio),
up to a constant that cancels in comparisons; each is 0 at u = 1. `dpo` of these, in place of the log-ratios (which are
the reverse KL's), is DPO for that divergence.

Source: Wang et al. 2023, "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse Divergence
Constraints", the theorem on the reparametrised reward and the table of divergences.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.functional.precision import Scalar, widen

STEEPEST = 30.0
"""Exponentials continue along their tangent from here: the square of e³⁰ ≈ 10¹³ still fits in float32, as the norm of a
gradient needs, and no useful policy is so far from its reference."""


def forward_kl_reward(logratio: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The implicit reward under KL(π_ref‖π), divided by β: unbounded below for responses that become unlikely.

    1 − 1/u,  u = exp(logratio)

    Shapes: any, elementwise. Source: Wang et al. 2023, where f′(u) = −1/u.
    Differs: below a log-ratio of −30 it continues along its tangent, so that value and slope stay finite.
    """
    return -_tangent_expm1(-widen(logratio))


def js_reward(logratio: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """The implicit reward under the Jensen–Shannon divergence, divided by β: at most log 2.

    log(2u/(1 + u)) = log 2 + log σ(logratio),  u = exp(logratio)

    Shapes: any, elementwise. Source: Wang et al. 2023. Its slope at u = 1 is ½; the others' is 1.
    """
    return math.log(2.0) + logsigmoid(widen(logratio))


def alpha_reward(logratio: Float[Tensor, "*#shape"], alpha: Scalar) -> Float[Tensor, "*shape"]:
    """The implicit reward under an α-divergence, divided by β: from the reverse KL (α → 0) to the forward KL (α = 1).

    (1 − u^(−α))/α,  u = exp(logratio),  0 < α ≤ 1

    Shapes: any, elementwise. Source: Wang et al. 2023. Some implementations write 1 − α for its α.
    Differs: where −α·logratio is above 30 it continues along its tangent, so that value and slope stay finite.
    """
    return -_tangent_expm1(-alpha * widen(logratio)) / alpha


def _tangent_expm1(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """e^x − 1, continued from x = 30 along its tangent."""
    return x.clamp(max=STEEPEST).expm1() + math.exp(STEEPEST) * (x - STEEPEST).relu()
