"""REINFORCE with a learned baseline."""

from dataclasses import dataclass

from burnish.algorithms.advantages import actor_critic_loss, advantage_moments, estimated, prepared
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class ReinforceBaseline(Algorithm):
    """REINFORCE with the critic's prediction subtracted from each return.

    L(θ, φ) = mean_t [ −A_t log π_θ(a_t) + value_weight · ½ (V_φ(s_t) − G_t)² − entropy_weight · H(π_θ) ],
    A_t = G_t − V(s_t)

    What is expected in a state is no merit of the action taken there: the gradient has the same mean, and less
    variance the better the critic. One update per rollout.

    Williams (1992), whose baseline may be any number that does not depend on the action; Sutton & Barto (2018),
    section 13.4, which learns it.
    Differs: from the book's as REINFORCE does; and the return of a truncated episode continues with V of its final
    state, where REINFORCE has nothing to continue with.
    """

    name = "reinforce_baseline"
    roles = ("policy", "critic")
    whole_episodes = True
    paper = "Williams 1992"

    value_weight: float = option(1.0, "weight of the critic's loss, half a squared error", ge=0)
    standardise_advantages: bool = option(
        False, "scale the advantages of a rollout to mean 0 and variance 1 over its real steps"
    )
    entropy_weight: float = option(0.0, "weight of the entropy bonus", ge=0)

    def statistics(self, models: Models, part: Episodes | Transitions) -> Statistics:
        if not self.standardise_advantages:
            return {}
        return advantage_moments(estimated(models, part, lambda_=1.0)[0], part.mask, True)

    def prepare(self, models: Models, part: Episodes | Transitions, statistics: Statistics) -> PreparedEpisodes:
        advantages, values = estimated(models, part, lambda_=1.0)
        return prepared(part, advantages, statistics, values)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        return actor_critic_loss(models, batch, self.value_weight, self.entropy_weight)
