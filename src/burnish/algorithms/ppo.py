"""Proximal policy optimisation."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.advantages import prepared, real
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes
from burnish.functional import clipped_surrogate, clipped_value_loss, gae, k3, value_loss
from burnish.policies.interface import Models


@dataclass(frozen=True)
class PPO:
    """Policy gradients that reuse what was sampled, for control and, on KL-shaped rewards, for RLHF.

    L(θ, φ) = mean_t [ −min(ρ A, clip(ρ, 1 ± clip) A) + value_weight · ½ (V_φ − R)² − entropy_weight · H(π_θ)
                       + kl_penalty · KL(π_old‖π_θ) ],
    ρ = π_θ(a)/π_old(a),  A = GAE(λ) of the critic before the updates,  R = A + V_old

    Schulman et al. (2017), "Proximal Policy Optimization Algorithms", eqs. 7, 9 and 11; the penalty: eq. 8. The value's
    clipping and the standardised advantages are of the code that came with the paper (openai/baselines, ppo2).
    Differs: from the paper by the ½ in the value's error, and in that the penalty joins the clipping and does not take
    its place; with an infinite `clip` it does. The KL is estimated from the actions that the old policy sampled.

    What an episode is worth, discounts, rewards and for a language model the KL penalty and the temperature, is the
    affair of the experience that the episodes come from.
    """

    clip: float = field(default=0.2, metadata={"help": "how far the ratio to the sampling policy gains by moving"})
    value_clip: float | None = field(
        default=0.2, metadata={"help": "how far a value gains by moving, in units of the returns; none: no limit"}
    )
    value_weight: float = field(default=0.1, metadata={"help": "weight of the critic's loss, half a squared error"})
    entropy_weight: float = field(default=0.0, metadata={"help": "weight of the bonus for entropy"})
    lambda_: float = field(default=0.95, metadata={"help": "GAE's λ: 1 trusts the returns, 0 the critic"})
    update_epochs: int = field(default=4, metadata={"help": "passes over the episodes of one rollout"})
    standardise_advantages: bool = field(
        default=True, metadata={"help": "advantages of a rollout to mean 0 and variance 1 over its real steps"}
    )
    stop_kl: float | None = field(
        default=None, metadata={"help": "end a rollout's updates once policy/approxkl_avg is above this"}
    )
    kl_penalty: float | None = field(
        default=None, metadata={"help": "price of KL from the sampling policy; none: no such term"}
    )
    kl_penalty_target: float | None = field(
        default=None, metadata={"help": "adapt kl_penalty after each rollout so that the KL comes to this, in nats"}
    )
    over: Literal["token", "sequence"] = field(
        default="token", metadata={"help": "average over all real steps, or over episodes of their step means"}
    )

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise ValueError(f"clip must be above 0, not {self.clip}: at 0 no update has anything to gain")
        if self.value_clip is not None and not self.value_clip > 0:
            raise ValueError(f"value_clip must be above 0, not {self.value_clip}: leave it out for no clipping")
        if not self.value_weight >= 0:
            raise ValueError(f"value_weight must not be negative, as {self.value_weight} is: the critic would unlearn")
        if not self.entropy_weight >= 0:
            raise ValueError(f"entropy_weight must not be negative, as {self.entropy_weight} is: it is a bonus")
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_ must lie in [0, 1], not {self.lambda_}: it weighs returns against the critic")
        if self.update_epochs < 1:
            raise ValueError(f"update_epochs must be at least 1, not {self.update_epochs}")
        if self.stop_kl is not None and not self.stop_kl > 0:
            raise ValueError(f"stop_kl must be above 0, not {self.stop_kl}: leave it out to never stop early")
        if self.kl_penalty is not None and not 0 < self.kl_penalty < float("inf"):
            raise ValueError(
                f"kl_penalty must be a number above 0, not {self.kl_penalty}: leave it out for no such term"
            )
        if self.kl_penalty_target is not None and not self.kl_penalty_target > 0:
            raise ValueError(f"kl_penalty_target must be above 0, not {self.kl_penalty_target}")
        if self.kl_penalty_target is not None and self.kl_penalty is None:
            raise ValueError("kl_penalty_target needs a kl_penalty to begin at: give one, or leave the target out")

    @torch.no_grad()
    def prepare(self, models: Models, batch: Episodes) -> Episodes:
        assert models.critic is not None
        values = models.critic.values(batch)
        advantages = gae(batch.rewards, values, batch.discounts, batch.mask, self.lambda_)
        return prepared(batch, advantages, values, standardised=self.standardise_advantages)

    def loss(self, models: Models, batch: Episodes) -> Loss:
        assert models.critic is not None
        assert batch.advantages is not None
        assert batch.returns is not None
        assert batch.old_values is not None
        mask = batch.mask
        logprobs, entropy = models.policy.logprobs_and_entropy(batch)
        logprobs, values = real(logprobs, mask), real(models.critic.values(batch)[..., :-1], mask)
        policy_losses = clipped_surrogate(logprobs, batch.old_logprobs, batch.advantages, self.clip, self.clip)
        plain = value_losses = value_loss(values, batch.returns)
        if self.value_clip is not None:
            value_losses = clipped_value_loss(values, batch.old_values, batch.returns, self.value_clip)
        terms = {
            "policy_avg": Term(policy_losses, mask, self.over),
            "value_avg": Term(value_losses, mask, self.over, self.value_weight),
        }
        if self.entropy_weight:
            terms["entropy_avg"] = Term(-entropy, mask, self.over, self.entropy_weight)
        metrics = self.metrics(logprobs.detach(), batch) | {"policy/entropy_avg": entropy.detach()}
        if self.value_clip is not None:
            metrics["val/clipfrac_avg"] = (value_losses > plain).detach().float()
        price = self.kl_penalty if batch.kl_penalty is None else batch.kl_penalty
        if price is not None:
            kl = k3(batch.old_logprobs, logprobs)
            terms["kl_avg"] = Term(kl, mask, self.over, price)
            metrics["policy/kl_avg"] = kl.detach()
        return Loss(terms, metrics)

    def metrics(self, logprobs: Tensor, batch: Episodes) -> dict[str, Tensor]:
        """TRL's names. `approxkl` is ½(log ρ)², which estimates KL(π_old‖π) near π_old without ever being negative;
        `clipfrac` is the share of steps whose gradient the clipping took."""
        assert batch.advantages is not None
        log_ratio = logprobs - batch.old_logprobs
        ratio = log_ratio.exp()
        gained = batch.advantages * (ratio - ratio.clamp(1 - self.clip, 1 + self.clip))
        return {
            "policy/approxkl_avg": 0.5 * log_ratio.square(),
            "policy/clipfrac_avg": (gained > 0).float(),
            "val/ratio": ratio,
        }


CHEAPEST, DEAREST = 1e-6, 1e6


def adapted(price: Float[Tensor, "*runs"], kl: Float[Tensor, "*runs"], target: float) -> Float[Tensor, "*runs"]:
    """The price of KL for the next rollout, after one whose updates led this far from the policy that sampled it.

    2·price if kl > 1.5·target,  price/2 if kl < target/1.5,  else price

    Shapes: any, elementwise: a price for each run. A KL that is not a number leaves the price as it is.
    Source: Schulman et al. (2017), section 4.
    Differs: the price stays in [10⁻⁶, 10⁶], since from 0 or ∞ it would never come back.
    """
    factor = torch.where(kl > 1.5 * target, 2.0, torch.where(kl < target / 1.5, 0.5, 1.0))
    return (price * factor.to(price)).clamp(CHEAPEST, DEAREST)
