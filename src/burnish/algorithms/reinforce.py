"""REINFORCE."""

from dataclasses import dataclass
from typing import Any

from burnish.algorithms.advantages import advantage_moments, prepared
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.functional import discounted_returns, policy_gradient
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class Reinforce(Algorithm):
    """The policy gradient: each action becomes likelier in proportion to the return that followed it.

    L(θ) = mean_t [ −A_t log π_θ(a_t) − entropy_weight · H(π_θ) ],  A_t = G_t, the discounted return

    One update per rollout. Williams (1992), "Simple Statistical Gradient-Following Algorithms for Connectionist
    Reinforcement Learning", with the reward to come in place of the whole (Sutton & Barto 2018, eq. 13.8).
    Differs: from the book's algorithm, which weights step t by γᵗ; and an episode is a row of a rollout's mean over
    steps, not an update of its own.

    Without a critic, nothing estimates what a truncated episode would have earned later: its return is what it earned.
    """

    name = "reinforce"
    whole_episodes = True
    paper = "Williams 1992"

    standardise_advantages: bool = option(
        False, "scale the advantages of a rollout to mean 0 and variance 1 over its real steps"
    )
    entropy_weight: float = option(0.0, "weight of the entropy bonus", ge=0)

    def statistics(self, models: Models, part: Episodes | Transitions) -> Statistics:
        return advantage_moments(self.advantages(part), part.mask, self.standardise_advantages)

    def prepare(self, models: Models, part: Episodes | Transitions, statistics: Statistics) -> PreparedEpisodes:
        return prepared(part, self.advantages(part), statistics)

    def advantages(self, part: Episodes | Transitions) -> Any:
        return discounted_returns(part.rewards, part.discounts, part.mask)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        logprobs, entropy = models.policy.logprobs_and_entropy(batch.batch)
        terms = {"policy_avg": Term(policy_gradient(logprobs, batch.advantages), batch.mask)}
        if self.entropy_weight:
            terms["entropy_avg"] = Term(-entropy, batch.mask, weight=self.entropy_weight)
        return Loss(terms, {"policy/entropy_avg": entropy.detach()})
