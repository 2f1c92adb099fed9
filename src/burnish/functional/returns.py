"""Discounted returns, and generalised advantage estimates over a value function.

Each row is one episode or a part of one. `mask` is True at the steps where the policy chose an action, and all other
places are skipped: the chosen step before a gap (a tool's answer between two turns of a dialogue) is followed directly
by the first one after it, discounted once. A discount of 0, on the step that terminated, cuts the bootstrap. A row
whose last chosen step has a positive discount was truncated, and bootstraps from the value of its final state. A reward
has the index of the action that earned it: rewards[t] is R_{t+1} in Sutton & Barto, and r_t in the PPO and GAE papers.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from burnish.functional.masked import is_last
from burnish.functional.precision import AnyScalar, widen


def _accumulate(
    terms: Float[Tensor, "*lead t"], weights: Float[Tensor, "*lead t"], mask: Bool[Tensor, "*lead t"]
) -> Float[Tensor, "*lead t"]:
    """y_t = x_t + w_t y_{t+1}, where t+1 is the next chosen step and y is 0 after the last one; 0 at masked places."""
    terms, weights = torch.where(mask, terms, 0.0), torch.where(mask, weights, 1.0)
    carried, reversed_sums = terms.new_zeros(terms.shape[:-1]), []
    for term, weight in zip(reversed(terms.unbind(-1)), reversed(weights.unbind(-1)), strict=True):
        carried = term + weight * carried
        reversed_sums.append(carried)
    return torch.where(mask, torch.stack(reversed_sums[::-1], -1), 0.0) if reversed_sums else terms


def _next_values(values: Float[Tensor, "*lead t_plus_1"], mask: Bool[Tensor, "*lead t"]) -> Float[Tensor, "*lead t"]:
    """The value at the next chosen step; for the last one, that of the column after it."""
    steps = torch.arange(mask.shape[-1], dtype=torch.int32, device=mask.device)
    nearest = torch.where(mask, steps, len(steps)).flip(-1).cummin(-1).values.flip(-1)
    following = pad(nearest[..., 1:], (0, 1), value=len(steps))
    return values.gather(-1, torch.where(following < len(steps), following, steps + 1).long())


def discounted_returns(
    rewards: Float[Tensor, "*lead b t"],
    discounts: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    bootstrap: Float[Tensor, "*lead b"] | None = None,
) -> Float[Tensor, "*lead b t"]:
    """Discounted sum of the rewards from each step on; 0 at masked places.

    G_t = r_t + γ_t G_{t+1}, where t+1 is the next chosen step, and G = V(final state) after the last one

    Shapes: rewards, discounts, mask [..., B, T]; bootstrap [..., B], V(final state) of a truncated row (default 0),
    not read for a row that terminated or has no chosen step → [..., B, T].
    A gap within a row is skipped, without a discount of its own. What lies at masked places is never read.

    Source: Sutton & Barto 2018, eq. 3.9 (there the reward of step t has index t + 1).
    """
    rewards, discounts = widen(rewards), widen(discounts)
    if bootstrap is not None:
        continues = is_last(mask) & (discounts != 0)
        rewards = rewards + discounts * torch.where(continues, widen(bootstrap)[..., None], 0.0)
    return _accumulate(rewards, discounts, mask)


def gae(
    rewards: Float[Tensor, "*lead b t"],
    values: Float[Tensor, "*lead b t_plus_1"],
    discounts: Float[Tensor, "*lead b t"],
    mask: Bool[Tensor, "*lead b t"],
    lambda_: AnyScalar,
) -> Float[Tensor, "*lead b t"]:
    """Generalised advantage estimates; 0 at masked places.

    δ_t = r_t + γ_t V_{t+1} − V_t,  A_t = δ_t + γ_t λ A_{t+1}, where t+1 is the next chosen step, and A = 0 after the
    last one

    Shapes: rewards, discounts, mask [..., B, T]; values [..., B, T + 1], where the column after a row's last chosen
    step (not the last column, if the row is short) holds V(final state) of a truncated row; lambda_ a number, or a
    tensor that broadcasts against [..., B, T] → [..., B, T].
    A gap within a row is skipped, without a discount of its own. Where γ_t = 0 the next value is not read; what lies at
    masked places never is, except V(final state).

    Raises ValueError: values does not have exactly one column more than rewards.
    Source: Schulman et al. 2015 (GAE), eq. 16 (λ = 0: eq. 17; λ = 1: eq. 18); Schulman et al. 2017 (PPO), eqs. 11–12.
    """
    if values.shape[-1] != rewards.shape[-1] + 1:
        raise ValueError(
            f"values has {values.shape[-1]} columns for {rewards.shape[-1]} steps: give one more column than steps."
        )
    values, discounts = widen(values), torch.where(mask, widen(discounts), 0.0)
    following = torch.where(discounts != 0, _next_values(values, mask), 0.0)
    errors = widen(rewards) + discounts * following - values[..., :-1]
    return _accumulate(errors, discounts * lambda_, mask)
