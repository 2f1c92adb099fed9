"""What every policy gradient does with a rollout: advantages and returns to keep fixed, and the common loss."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.algorithms.interface import Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.functional import gae, moments, policy_gradient, standardise, value_loss
from burnish.policies.interface import Models


@torch.no_grad()
def estimated(models: Models, part: Episodes | Transitions, lambda_: float) -> tuple[Tensor, Tensor]:
    """GAE(λ) advantages [..., B, T], and the critic's values [..., B, T + 1] that they are based on."""
    values = models.critic.values(part) if part.values is None else part.values
    return gae(part.rewards, values, part.discounts, part.mask, lambda_), values


def advantage_moments(advantages: Float[Tensor, "*lead t"], mask: Bool[Tensor, "*lead t"], wanted: bool) -> Statistics:
    """The `statistics` of an algorithm that standardises advantages over the whole rollout, if it is `wanted`."""
    return {"advantages": moments(advantages, mask)} if wanted else {}


def prepared(
    batch: Episodes | Transitions,
    advantages: Float[Tensor, "*lead t"],
    statistics: Statistics,
    values: Float[Tensor, "*lead t_plus_1"] | None = None,
    **more: Any,
) -> PreparedEpisodes:
    """Episodes with their advantages and, where a critic gave values, their returns; 0 at masked places.

    R_t = A_t + V(s_t), from the advantages before they are standardised by the moments in `statistics`, if any

    Shapes: advantages [..., B, T], 0 at masked places; values [..., B, T + 1].
    """
    mask = batch.mask
    if values is not None:
        old_values = real(values[..., :-1], mask)
        more |= {"old_values": old_values, "returns": advantages + old_values}
    of = statistics.get("advantages")
    return PreparedEpisodes(
        batch=replace(batch, old_logprobs=real(batch.old_logprobs, mask), values=None),
        advantages=advantages if of is None else standardise(advantages, mask, of=of),
        **more,
    )


def actor_critic_loss(models: Models, batch: PreparedEpisodes, value_weight: float, entropy_weight: float) -> Loss:
    """The policy gradient with these advantages, the critic's regression on the returns, and an entropy bonus."""
    assert batch.returns is not None
    logprobs, entropy = models.policy.logprobs_and_entropy(batch.batch)
    values = real(models.critic.values(batch.batch)[..., :-1], batch.mask)
    terms = {
        "policy_avg": Term(policy_gradient(logprobs, batch.advantages), batch.mask),
        "value_avg": Term(value_loss(values, batch.returns), batch.mask, weight=value_weight),
    }
    if entropy_weight:
        terms["entropy_avg"] = Term(-entropy, batch.mask, weight=entropy_weight)
    return Loss(terms, {"policy/entropy_avg": entropy.detach()})


def ratio_metrics(
    log_ratio: Float[Tensor, "*shape"],
    advantages: Float[Tensor, "*shape"],
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> dict[str, Tensor]:
    """TRL's names. `approxkl` is ½(log ρ)², which estimates KL(π_old‖π) near π_old and is never negative; `clipfrac` is
    the share whose gradient was removed by clipping."""
    log_ratio = log_ratio.detach()
    ratio = log_ratio.exp()
    clipped = advantages * (ratio - ratio.clamp(1 - clip_low, 1 + clip_high)) > 0
    if dual_clip is not None:
        clipped |= (advantages < 0) & (ratio > dual_clip)
    return {
        "policy/approxkl_avg": 0.5 * log_ratio.square(),
        "policy/clipfrac_avg": clipped.float(),
        "val/ratio": ratio,
    }


def real(x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x where the policy chose an action, else 0: elementwise objectives know no mask, and 0 · NaN is NaN."""
    return torch.where(mask, x, 0.0)


def corrected(
    losses: Float[Tensor, "*lead t"], batch: Episodes | Transitions, mask: Bool[Tensor, "*lead t"]
) -> Float[Tensor, "*lead t"]:
    """The policy's losses times the batch's importance weights, where another policy than π_old acted."""
    return losses if batch.weights is None else losses * real(batch.weights, mask)
