"""What a step was worth: returns, and advantages over a value function.

A row belongs to one episode. The mask, True at real steps, cuts the recursion; a discount of 0, on the step that
terminated, cuts the bootstrap. A row whose last real step has a positive discount was truncated, and goes on from the
value of its final state. Index t of a reward is that of the action that earned it: rewards[t] is Sutton & Barto's
R_{t+1}, and r_t of the papers on PPO and GAE.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional.masked import is_last
from burnish.functional.precision import AnyScalar, widen


def _accumulate(terms: Float[Tensor, "*lead t"], weights: Float[Tensor, "*lead t"]) -> Float[Tensor, "*lead t"]:
    """y_t = x_t + w_t y_{t+1}, with nothing after the last column."""
    carried, reversed_sums = terms.new_zeros(terms.shape[:-1]), []
    for term, weight in zip(reversed(terms.unbind(-1)), reversed(weights.unbind(-1)), strict=True):
        carried = term + weight * carried
        reversed_sums.append(carried)
    return torch.stack(reversed_sums[::-1], -1) if reversed_sums else terms


def discounted_returns(
    rewards: Float[Tensor, "*lead b t"],
    discounts: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    bootstrap: Float[Tensor, "*lead b"] | None = None,
) -> Float[Tensor, "*lead b t"]:
    """Sum of the rewards to come, each step's discounted once more; 0 at masked places.

    G_t = r_t + γ_t G_{t+1}, and after the last real step G = V(final state)

    Shapes: rewards, discounts, mask [..., B, T]; bootstrap [..., B], V(final state) of a truncated row (default 0), not
    looked at in a row that terminated or has no real step → [..., B, T].
    A gap within a row cuts it: the steps before the gap see no reward from after it, and no bootstrap.

    Source: Sutton & Barto 2018, eq. 3.9 (there the reward of step t has index t + 1).
    """
    rewards = torch.where(mask, widen(rewards), 0.0)
    discounts = torch.where(mask, widen(discounts), 0.0)
    if bootstrap is not None:
        continues = is_last(mask) & (discounts != 0)
        rewards = rewards + discounts * torch.where(continues, widen(bootstrap)[..., None], 0.0)
    return _accumulate(rewards, discounts)


def gae(
    rewards: Float[Tensor, "*lead b t"],
    values: Float[Tensor, "*lead b t_plus_1"],
    discounts: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    lambda_: AnyScalar,
) -> Float[Tensor, "*lead b t"]:
    """Generalised advantage estimates; 0 at masked places.

    δ_t = r_t + γ_t V_{t+1} − V_t,  A_t = δ_t + γ_t λ A_{t+1}, and A = 0 after the last real step

    Shapes: rewards, discounts, mask [..., B, T]; values [..., B, T + 1], whose column after a row's last real step (not
    its last column, if the row is short) is V(final state) of a truncated row; lambda_ a number → [..., B, T].
    Where γ_t = 0 the next value is not looked at. A gap within a row cuts the sum of the δ, not the bootstrap: the step
    before it still reads the value of the column that follows.

    Raises ValueError: values has not one column more than rewards.
    Source: Schulman et al. 2015 (GAE), eq. 16 (λ = 0: eq. 17; λ = 1: eq. 18); Schulman et al. 2017 (PPO), eqs. 11–12.
    """
    if values.shape[-1] != rewards.shape[-1] + 1:
        raise ValueError(
            f"values has {values.shape[-1]} columns for {rewards.shape[-1]} steps: give one more column than steps."
        )
    values, discounts = widen(values), torch.where(mask, widen(discounts), 0.0)
    current = torch.where(mask, values[..., :-1], 0.0)
    following = torch.where(discounts != 0, values[..., 1:], 0.0)
    errors = torch.where(mask, widen(rewards), 0.0) + discounts * following - current
    return _accumulate(errors, discounts * lambda_)
