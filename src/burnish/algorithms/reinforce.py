"""REINFORCE."""

from dataclasses import dataclass, field

from burnish.algorithms.advantages import prepared
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes
from burnish.functional import discounted_returns, policy_gradient
from burnish.policies.interface import Models


@dataclass(frozen=True)
class Reinforce:
    """The policy gradient: an action is made likelier by as much as was earned from it on. One update a rollout.

    L(θ) = mean_t [ −A_t log π_θ(a_t) − entropy_weight · H(π_θ) ],  A_t = G_t, the discounted rewards to come

    Williams (1992), "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning", with
    the reward to come in place of the whole (Sutton & Barto 2018, eq. 13.8).
    Differs: from the book's algorithm, which weights step t by γᵗ; and an episode is a row of a rollout's mean over
    steps, not an update of its own.

    There is no critic, so nothing tells what a truncated episode would have gone on to earn: its return is what it
    earned.
    """

    standardise_advantages: bool = field(
        default=False, metadata={"help": "advantages of a rollout to mean 0 and variance 1 over its real steps"}
    )
    entropy_weight: float = field(default=0.0, metadata={"help": "weight of the bonus for entropy"})

    def __post_init__(self) -> None:
        if not self.entropy_weight >= 0:
            raise ValueError(f"entropy_weight must not be negative, as {self.entropy_weight} is: it is a bonus")

    def prepare(self, models: Models, batch: Episodes) -> Episodes:
        advantages = discounted_returns(batch.rewards, batch.discounts, batch.mask)
        return prepared(batch, advantages, standardised=self.standardise_advantages)

    def loss(self, models: Models, batch: Episodes) -> Loss:
        assert batch.advantages is not None
        logprobs, entropy = models.policy.logprobs_and_entropy(batch)
        terms = {"policy_avg": Term(policy_gradient(logprobs, batch.advantages), batch.mask)}
        if self.entropy_weight:
            terms["entropy_avg"] = Term(-entropy, batch.mask, weight=self.entropy_weight)
        return Loss(terms, {"policy/entropy_avg": entropy.detach()})
