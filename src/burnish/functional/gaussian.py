"""Diagonal Gaussian distributions over real vectors, also squashed into bounds: the policies of continuous control.

The last dimension is the action's and is summed over. The log standard deviation broadcasts over the rest, so it may
depend on the observation or not.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from burnish.functional.precision import widen


def gaussian_logprobs(
    mean: Float[Tensor, "*#shape"], log_std: Float[Tensor, "*#shape"], actions: Float[Tensor, "*#shape"]
) -> Float[Tensor, "..."]:
    """Log-density of each taken action.

    log π(a) = Σᵢ [ −½ ((aᵢ − μᵢ)/σᵢ)² − log σᵢ − ½ log 2π ]

    Shapes: mean, log_std, actions [..., A], broadcasting → [...].
    """
    mean, log_std, actions = widen(mean), widen(log_std), widen(actions)
    deviation = (actions - mean) * (-log_std).exp()
    return (-0.5 * deviation.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


def gaussian_entropy(log_std: Float[Tensor, "*shape actions"]) -> Float[Tensor, "*shape"]:
    """Differential entropy in nats; unlike the entropy of a categorical distribution it may be negative.

    H(π) = Σᵢ [ log σᵢ + ½ log 2πe ]

    Shapes: log_std [..., A] → [...].
    """
    return (widen(log_std) + 0.5 * (1 + math.log(2 * math.pi))).sum(-1)


def gaussian_kl(
    mean_p: Float[Tensor, "*#shape"],
    log_std_p: Float[Tensor, "*#shape"],
    mean_q: Float[Tensor, "*#shape"],
    log_std_q: Float[Tensor, "*#shape"],
) -> Float[Tensor, "..."]:
    """Exact KL(p‖q), with p first as in `categorical_kl`.

    Σᵢ ½ [ e^{2dᵢ} − 1 − 2dᵢ + ((μpᵢ − μqᵢ)/σqᵢ)² ],  dᵢ = log σpᵢ − log σqᵢ

    Shapes: all [..., A], broadcasting → [...]. In this form each term is non-negative, and exactly 0 at p = q.
    """
    log_ratio = widen(log_std_p) - widen(log_std_q)
    distance = (widen(mean_p) - widen(mean_q)) * (-widen(log_std_q)).exp()
    return (0.5 * ((2 * log_ratio).expm1() - 2 * log_ratio + distance.square())).sum(-1)


def squashed_gaussian_logprobs(
    mean: Float[Tensor, "*#shape"], log_std: Float[Tensor, "*#shape"], unsquashed: Float[Tensor, "*#shape"]
) -> Float[Tensor, "..."]:
    """Log-density of the actions a = tanh(u) in (−1, 1), by the u that they were squashed from.

    log π(a) = log N(u; μ, σ²) − Σᵢ log(1 − tanh² uᵢ),  log(1 − tanh² u) = 2 (log 2 − u − softplus(−2u))

    Shapes: mean, log_std, unsquashed [..., A], broadcasting → [...]. The right-hand side of the last equation is exact
    for every u; the left one is log 0 in float32 from |u| = 9 on, where tanh u rounds to ±1. For the same reason u is
    needed: it cannot be got back from a.
    Source: Haarnoja et al. 2018, "Soft Actor-Critic", appendix C, eq. 21; the stable form is that of TensorFlow
    Probability's `Tanh` bijector.
    """
    u = widen(unsquashed)
    slope = 2 * (math.log(2) - u - softplus(-2 * u, threshold=40.0))
    return gaussian_logprobs(mean, log_std, u) - slope.sum(-1)


def squashed_gaussian_sample(
    mean: Float[Tensor, "*#shape"], log_std: Float[Tensor, "*#shape"], noise: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """An action in (−1, 1) as a function of standard normal noise, and its log-density; both have gradients.

    a = tanh(u),  u = μ + σ · noise;  `squashed_gaussian_logprobs`

    Shapes: mean, log_std, noise [..., A], broadcasting → actions [..., A], log-densities [...].
    Source: Haarnoja et al. 2018, "Soft Actor-Critic", eq. 11 (the reparametrised action) and appendix C.
    """
    u = widen(mean) + widen(log_std).exp() * widen(noise)
    return u.tanh(), squashed_gaussian_logprobs(mean, log_std, u)
