"""Proximal policy optimisation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.advantages import advantage_moments, corrected, estimated, prepared, ratio_metrics, real
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.functional import clipped_surrogate, clipped_value_loss, k3, value_loss
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class PPO(Algorithm):
    """Policy gradients that reuse each rollout several times, for control and, on KL-shaped rewards, for RLHF.

    L(θ, φ) = mean_t [ −min(ρ A, clip(ρ, 1 ± clip) A) + value_weight · ½ (V_φ − R)² − entropy_weight · H(π_θ)
                       + kl_penalty · KL(π_old‖π_θ) ],
    ρ = π_θ(a)/π_old(a),  A = GAE(λ) of the critic before the updates,  R = A + V_old

    Schulman et al. (2017), "Proximal Policy Optimization Algorithms", eqs. 7, 9 and 11; the penalty: eq. 8. The value's
    clipping and the standardised advantages come from the code of the paper (openai/baselines, ppo2).
    Differs: from the paper by the ½ in the value's error, and in that the penalty joins the clipping and does not
    replace it; with an infinite `clip` it does. The KL is estimated from the actions that the old policy sampled.

    Where another policy μ acted, a batch may have weights π_old/μ, which multiply the policy's term: the decoupled
    objective of Hilton et al. (2022), "Batch size-invariance for policy optimization".

    Rewards, discounts and, for a language model, the KL penalty to the reference and the temperature belong to the
    experience that the episodes come from.
    """

    name = "ppo"
    data = "prompts"
    roles = ("policy", "critic")
    experience = "burnish.experience.language.completions:Completions"
    learning_rate = 3e-6
    paper = "Schulman et al. 2017"

    clip: float = option(
        0.2,
        "clip range ε: the probability ratio is clipped to [1 − ε, 1 + ε]",
        gt=0,
        infinite=True,
        why="at 0 no update can improve anything",
    )
    value_clip: float | None = option(
        0.2, "clip range of the value function, in units of the returns; none: no clipping", gt=0, infinite=True
    )
    value_weight: float = option(0.1, "weight of the critic's loss, half a squared error", ge=0)
    entropy_weight: float = option(0.0, "weight of the entropy bonus", ge=0)
    lambda_: float = option(0.95, "GAE's λ: 1 uses the returns, 0 the critic", ge=0, le=1)
    update_epochs: int = option(4, "passes over the episodes of one rollout", ge=1)
    standardise_advantages: bool = option(
        True, "scale the advantages of a rollout to mean 0 and variance 1 over its real steps"
    )
    stop_kl: float | None = option(
        None, "end a rollout's updates when policy/approxkl_avg exceeds this; none: never", gt=0, infinite=True
    )
    kl_penalty: float | None = option(
        None, "coefficient of the KL divergence from the sampling policy; none: no such term", gt=0
    )
    kl_penalty_target: float | None = option(
        None, "adapt kl_penalty after each rollout towards this KL divergence, in nats", gt=0, infinite=True
    )
    over: Literal["token", "sequence"] = option(
        "token", "average over all real steps, or per episode and then over episodes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kl_penalty_target is not None and self.kl_penalty is None:
            raise ValueError("kl_penalty_target needs a kl_penalty to start from: set both, or neither")

    @property
    def passes(self) -> int:
        return self.update_epochs

    def statistics(self, models: Models, part: Episodes | Transitions) -> Statistics:
        if not self.standardise_advantages:
            return {}
        return advantage_moments(estimated(models, part, self.lambda_)[0], part.mask, True)

    def prepare(self, models: Models, part: Episodes | Transitions, statistics: Statistics) -> PreparedEpisodes:
        advantages, values = estimated(models, part, self.lambda_)
        price = statistics.get("kl_penalty")
        if price is not None:
            price = torch.as_tensor(price, dtype=advantages.dtype, device=advantages.device)
        return prepared(part, advantages, statistics, values, kl_penalty=price)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        assert batch.returns is not None
        assert batch.old_values is not None
        mask, old_logprobs = batch.mask, batch.batch.old_logprobs
        logprobs, entropy = models.policy.logprobs_and_entropy(batch.batch)
        logprobs, values = real(logprobs, mask), real(models.critic.values(batch.batch)[..., :-1], mask)
        policy_losses = clipped_surrogate(logprobs, old_logprobs, batch.advantages, self.clip, self.clip)
        policy_losses = corrected(policy_losses, batch.batch, mask)
        plain = value_losses = value_loss(values, batch.returns)
        if self.value_clip is not None:
            value_losses = clipped_value_loss(values, batch.old_values, batch.returns, self.value_clip)
        terms = {
            "policy_avg": Term(policy_losses, mask, self.over),
            "value_avg": Term(value_losses, mask, self.over, self.value_weight),
        }
        if self.entropy_weight:
            terms["entropy_avg"] = Term(-entropy, mask, self.over, self.entropy_weight)
        metrics: dict[str, Any] = ratio_metrics(logprobs - old_logprobs, batch.advantages, self.clip, self.clip)
        metrics |= {"policy/entropy_avg": entropy.detach()}
        if self.value_clip is not None:
            metrics["val/clipfrac_avg"] = (value_losses > plain).detach().float()
        if isinstance(batch.batch, Episodes) and batch.batch.ptx is not None:
            term = imitation(models, batch.batch)
            metrics["ptx/nll"] = replace(term, losses=term.losses.detach(), weight=1.0)
            if batch.batch.ptx_weight:
                terms["ptx_avg"] = term
        price = self.kl_penalty if batch.kl_penalty is None else batch.kl_penalty
        if price is not None:
            kl = k3(old_logprobs, logprobs)
            terms["kl_avg"] = Term(kl, mask, self.over, price)
            metrics["policy/kl_avg"] = kl.detach()
        return Loss(terms, metrics)

    @property
    def watches(self) -> tuple[str, ...]:
        return () if self.stop_kl is None else ("policy/approxkl_avg",)

    def stops(self, metrics: dict[str, Any]) -> bool | Tensor:
        return False if self.stop_kl is None else metrics["policy/approxkl_avg"] > self.stop_kl

    def conclude(self, final_metrics: Callable[[], dict[str, Tensor]], carried: dict[str, Any]) -> dict[str, Any]:
        """Adapt the coefficient of the KL penalty, where it has a target."""
        if self.kl_penalty_target is None:
            return carried
        kl = final_metrics()["policy/kl_avg"]
        price = torch.as_tensor(carried.get("kl_penalty", self.kl_penalty), dtype=kl.dtype, device=kl.device)
        return {"kl_penalty": next_kl_penalty(price.expand_as(kl), kl, self.kl_penalty_target)}


def imitation(models: Models, batch: Episodes) -> Term:
    """The negative log-likelihood of the texts beside the completions; without a gradient where its weight is 0.

    γ·mean_t −log π_θ(x_t)

    Source: Ouyang et al. (2022), eq. 2, in which γ is 27.8.
    Differs: the paper does not say over what it averages; this is a mean over tokens, as is the policy's loss.
    """
    assert batch.ptx is not None
    assert batch.ptx_weight is not None
    with torch.set_grad_enabled(torch.is_grad_enabled() and bool(batch.ptx_weight)):
        logprobs = models.policy.logprobs(batch.ptx)
    return Term(-logprobs, batch.ptx.mask, "token", batch.ptx_weight, total="ptx")


CHEAPEST, DEAREST = 1e-6, 1e6


def next_kl_penalty(price: Float[Tensor, "*runs"], kl: Float[Tensor, "*runs"], target: float) -> Float[Tensor, "*runs"]:
    """The coefficient of the KL penalty for the next rollout, given the KL divergence after this one's updates.

    2·price if kl > 1.5·target,  price/2 if kl < target/1.5,  else price

    Shapes: any, elementwise: one coefficient per run. A KL that is NaN leaves the coefficient unchanged.
    Source: Schulman et al. (2017), section 4.
    Differs: the coefficient stays in [10⁻⁶, 10⁶], since from 0 or ∞ it would never come back.
    """
    factor = torch.where(kl > 1.5 * target, 2.0, torch.where(kl < target / 1.5, 0.5, 1.0))
    return (price * factor.to(price)).clamp(CHEAPEST, DEAREST)
