"""REINFORCE with a learned baseline."""

from dataclasses import dataclass, field

import torch

from burnish.algorithms.advantages import prepared, real
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes
from burnish.functional import gae, policy_gradient, value_loss
from burnish.policies.interface import Models


@dataclass(frozen=True)
class ReinforceBaseline:
    """REINFORCE, but what was earned counts against what the critic expected. One update a rollout.

    L(θ, φ) = mean_t [ −A_t log π_θ(a_t) + value_weight · ½ (V_φ(s_t) − G_t)² − entropy_weight · H(π_θ) ],
    A_t = G_t − V(s_t)

    What is expected of a state is no merit of the action taken there: without it the gradient has the same mean, and
    less variance the better the critic.

    Williams (1992), whose baseline may be any number that the action has no part in; Sutton & Barto (2018), section
    13.4, which learns it.
    Differs: from the book's as REINFORCE does; and the return of a truncated episode goes on from V of its final
    state, where REINFORCE has nothing to go on from.
    """

    value_weight: float = field(default=1.0, metadata={"help": "weight of the critic's loss, half a squared error"})
    standardise_advantages: bool = field(
        default=False, metadata={"help": "advantages of a rollout to mean 0 and variance 1 over its real steps"}
    )
    entropy_weight: float = field(default=0.0, metadata={"help": "weight of the bonus for entropy"})

    def __post_init__(self) -> None:
        if not self.value_weight >= 0:
            raise ValueError(f"value_weight must not be negative, as {self.value_weight} is: the critic would unlearn")
        if not self.entropy_weight >= 0:
            raise ValueError(f"entropy_weight must not be negative, as {self.entropy_weight} is: it is a bonus")

    @torch.no_grad()
    def prepare(self, models: Models, batch: Episodes) -> Episodes:
        assert models.critic is not None
        values = models.critic.values(batch)
        advantages = gae(batch.rewards, values, batch.discounts, batch.mask, lambda_=1.0)
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
