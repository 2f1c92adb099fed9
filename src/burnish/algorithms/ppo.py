"""Proximal policy optimisation."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes
from burnish.functional import clipped_surrogate, clipped_value_loss, gae, standardise, value_loss
from burnish.policies.interface import Models


@dataclass(frozen=True)
class PPO:
    """Policy gradients that reuse what was sampled, for control and, on KL-shaped rewards, for RLHF.

    L(θ, φ) = mean_t [ −min(ρ A, clip(ρ, 1 ± clip) A) + value_weight · ½ (V_φ − R)² − entropy_weight · H(π_θ) ],
    ρ = π_θ(a)/π_old(a),  A = GAE(λ) of the critic before the updates,  R = A + V_old

    Schulman et al. (2017), "Proximal Policy Optimization Algorithms", eqs. 7, 9 and 11. The value's clipping and the
    standardised advantages are of the code that came with the paper (openai/baselines, ppo2).
    Differs: from the paper by the ½ in the value's error.

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

    @torch.no_grad()
    def prepare(self, models: Models, batch: Episodes) -> Episodes:
        """The episodes of a whole rollout with their advantages, returns and old values; 0 at masked places.

        Returns are of the advantages as they are; only the policy's own are standardised, once, over the rollout.
        """
        assert models.critic is not None
        mask = batch.mask
        values = models.critic.values(batch)
        advantages = gae(batch.rewards, values, batch.discounts, mask, self.lambda_)
        old_values = real(values[..., :-1], mask)
        return replace(
            batch,
            old_logprobs=real(batch.old_logprobs, mask),
            old_values=old_values,
            returns=advantages + old_values,
            advantages=standardise(advantages, mask) if self.standardise_advantages else advantages,
        )

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


def real(x: Tensor, mask: Tensor) -> Tensor:
    """x where the policy chose an action, else 0: elementwise objectives know no mask, and 0 · NaN is NaN."""
    return torch.where(mask, x, 0.0)
