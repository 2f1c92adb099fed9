"""Losses of the critic, and the share of the returns' variance that it explains."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional.masked import centre, masked_mean
from burnish.functional.precision import Scalar, widen


def value_loss(values: Float[Tensor, "*#shape"], returns: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Half the squared error; the ½ makes its gradient the error.

    ½ (V − R)²

    Shapes: any, elementwise, not reduced. Source: Schulman et al. 2017 (PPO), L^VF of eq. 9.
    Differs: the paper has no ½, so its coefficient c₁ is half the weight used here.
    """
    return 0.5 * (widen(values) - widen(returns)).square()


def clipped_value_loss(
    values: Float[Tensor, "*#shape"],
    old_values: Float[Tensor, "*#shape"],
    returns: Float[Tensor, "*#shape"],
    clip: Scalar,
) -> Float[Tensor, "*shape"]:
    """Half the larger of two squared errors: that of the value, and that of the value clipped around the old one.

    ½ max((V − R)², (clip(V, V_old − clip, V_old + clip) − R)²)

    Shapes: any, elementwise, not reduced. `clip` is in units of the returns.
    Source: the original implementation of PPO (openai/baselines, ppo2); not in the paper.
    """
    values, old_values, returns = widen(values), widen(old_values), widen(returns)
    clipped = torch.minimum(torch.maximum(values, old_values - clip), old_values + clip)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())


def explained_variance(
    values: Float[Tensor, "*#shape"], returns: Float[Tensor, "*#shape"], mask: Bool[Tensor, "*#shape"]
) -> Float[Tensor, "..."]:
    """Share of the returns' variance that the values explain, over real steps.

    1 − Var[R − V] / Var[R]

    Shapes: values, returns, mask [..., B, T] → [...]. 1 is a perfect critic up to a constant, 0 is as good as a
    constant, below 0 is worse than one. Returns without variance give 0.
    """
    unexplained = masked_mean(centre(widen(returns) - widen(values), mask).square(), mask, (-2, -1))
    total = masked_mean(centre(returns, mask).square(), mask, (-2, -1))
    return torch.where(total == 0, 0.0, 1.0 - unexplained / torch.where(total == 0, 1.0, total))
