"""Advantage actor-critic."""

from dataclasses import dataclass, field

import torch

from burnish.algorithms.advantages import prepared, real
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes
from burnish.functional import gae, policy_gradient, value_loss
from burnish.policies.interface import Models


@dataclass(frozen=True)
class ActorCritic:
    """REINFORCE with a baseline, but the critic also stands in for the rewards far off. One update a rollout.

    L(θ, φ) = mean_t [ −A_t log π_θ(a_t) + value_weight · ½ (V_φ(s_t) − R_t)² − entropy_weight · H(π_θ) ],
    A = GAE(λ) of the critic before the update,  R = A + V

    Less variance for the bias of a critic that is wrong: λ = 1 is REINFORCE with a baseline, to the last bit.

    Mnih et al. (2016), "Asynchronous Methods for Deep Reinforcement Learning", section 4 (A3C, of which this is the
    synchronous form), with the advantages of Schulman et al. (2015), "High-Dimensional Continuous Control Using
    Generalized Advantage Estimation", eq. 16.
    Differs: from the paper by the ½ in the value's error, so that value_weight 1 here is a coefficient of ½ there, and
    by GAE in place of n-step returns.
    """

    lambda_: float = field(default=0.95, metadata={"help": "GAE's λ: 1 trusts the returns, 0 the critic"})
    value_weight: float = field(default=1.0, metadata={"help": "weight of the critic's loss, half a squared error"})
    standardise_advantages: bool = field(
        default=False, metadata={"help": "advantages of a rollout to mean 0 and variance 1 over its real steps"}
    )
    entropy_weight: float = field(default=0.0, metadata={"help": "weight of the bonus for entropy"})

    def __post_init__(self) -> None:
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_ must lie in [0, 1], not {self.lambda_}: it weighs returns against the critic")
        if not self.value_weight >= 0:
            raise ValueError(f"value_weight must not be negative, as {self.value_weight} is: the critic would unlearn")
        if not self.entropy_weight >= 0:
            raise ValueError(f"entropy_weight must not be negative, as {self.entropy_weight} is: it is a bonus")

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
        logprobs, entropy = models.policy.logprobs_and_entropy(batch)
        values = real(models.critic.values(batch)[..., :-1], batch.mask)
        terms = {
            "policy_avg": Term(policy_gradient(logprobs, batch.advantages), batch.mask),
            "value_avg": Term(value_loss(values, batch.returns), batch.mask, weight=self.value_weight),
        }
        if self.entropy_weight:
            terms["entropy_avg"] = Term(-entropy, batch.mask, weight=self.entropy_weight)
        return Loss(terms, {"policy/entropy_avg": entropy.detach()})
