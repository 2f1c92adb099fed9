"""Advantage actor-critic."""

from dataclasses import dataclass

from burnish.algorithms.advantages import actor_critic_loss, advantage_moments, estimated, prepared
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class ActorCritic(Algorithm):
    """REINFORCE with a baseline in which the critic also predicts later rewards (A2C).

    L(θ, φ) = mean_t [ −A_t log π_θ(a_t) + value_weight · ½ (V_φ(s_t) − R_t)² − entropy_weight · H(π_θ) ],
    A = GAE(λ) of the critic before the update,  R = A + V

    Less variance, at the price of bias where the critic is wrong: λ = 1 is REINFORCE with a baseline, to the last bit.
    One update per rollout.

    Mnih et al. (2016), "Asynchronous Methods for Deep Reinforcement Learning", section 4 (A3C, of which this is the
    synchronous form), with the advantages of Schulman et al. (2015), "High-Dimensional Continuous Control Using
    Generalized Advantage Estimation", eq. 16.
    Differs: from the paper by the ½ in the value's error, so that value_weight 1 here is a coefficient of ½ there, and
    by GAE in place of n-step returns.
    """

    name = "actor_critic"
    roles = ("policy", "critic")
    paper = "Mnih et al. 2016"

    lambda_: float = option(0.95, "GAE's λ: 1 uses the returns, 0 the critic", ge=0, le=1)
    value_weight: float = option(1.0, "weight of the critic's loss, half a squared error", ge=0)
    standardise_advantages: bool = option(
        False, "scale the advantages of a rollout to mean 0 and variance 1 over its real steps"
    )
    entropy_weight: float = option(0.0, "weight of the entropy bonus", ge=0)

    def statistics(self, models: Models, part: Episodes | Transitions) -> Statistics:
        if not self.standardise_advantages:
            return {}
        return advantage_moments(estimated(models, part, self.lambda_)[0], part.mask, True)

    def prepare(self, models: Models, part: Episodes | Transitions, statistics: Statistics) -> PreparedEpisodes:
        advantages, values = estimated(models, part, self.lambda_)
        return prepared(part, advantages, statistics, values)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        return actor_critic_loss(models, batch, self.value_weight, self.entropy_weight)
