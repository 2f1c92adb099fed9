"""Trust-region policy optimisation."""

from dataclasses import dataclass

from burnish.algorithms.advantages import advantage_moments, estimated, prepared, real
from burnish.algorithms.interface import Algorithm, Statistics, TrustRegion
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes, PreparedEpisodes, Transitions
from burnish.functional import surrogate, value_loss
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class TRPO(Algorithm):
    """The actor-critic's gradient, followed as far as a bound on the policy's KL divergence allows.

    min_θ L(θ) = mean_t [ −ρ_t A_t ]  subject to  mean_t KL(π_old(·|s_t)‖π_θ(·|s_t)) ≤ max_kl,
    ρ = π_θ(a)/π_old(a),  A = GAE(λ) of the critic before the step;  and the critic's own mean_t ½ (V_φ(s_t) − R_t)²

    The step itself (conjugate gradients on products with the Fisher matrix, then a line search) is part of `training`;
    this class says what it minimises and how it searches. `loss` is the policy's alone: the critic learns in an
    ordinary regression, `critic_loss`, in `update_epochs` passes over the rollout.

    Schulman et al. (2015), "Trust Region Policy Optimization", eq. 14 and appendix C; the critic and its advantages:
    Schulman et al. (2015), "High-Dimensional Continuous Control Using Generalized Advantage Estimation".
    Differs: the critic has no trust region of its own, as it has in the latter; advantages are standardised and the
    Fisher matrix is damped, as codes do.
    """

    name = "trpo"
    roles = ("policy", "critic")
    paper = "Schulman et al. 2015"

    max_kl: float = option(
        0.01,
        "largest mean KL divergence of one step from the old policy, in nats",
        gt=0,
        why="at 0 no step is allowed",
    )
    lambda_: float = option(0.95, "GAE's λ: 1 uses the returns, 0 the critic", ge=0, le=1)
    cg_iterations: int = option(10, "conjugate-gradient iterations for the direction", ge=1)
    damping: float = option(
        0.1, "added to the Fisher matrix's diagonal", ge=0, why="the solver needs a positive matrix"
    )
    shrink: float = option(
        0.8, "factor between the step lengths of the line search", gt=0, lt=1, why="tried steps must get shorter"
    )
    search_steps: int = option(10, "step lengths to try before the policy is left unchanged", ge=1)
    update_epochs: int = option(10, "the critic's passes over the episodes of one rollout", ge=1)
    standardise_advantages: bool = option(
        True, "scale the advantages of a rollout to mean 0 and variance 1 over its real steps"
    )

    @property
    def passes(self) -> int:
        return self.update_epochs

    def region(self) -> TrustRegion:
        return TrustRegion(self.max_kl, self.cg_iterations, self.damping, self.shrink, self.search_steps)

    def statistics(self, models: Models, part: Episodes | Transitions) -> Statistics:
        if not self.standardise_advantages:
            return {}
        return advantage_moments(estimated(models, part, self.lambda_)[0], part.mask, True)

    def prepare(self, models: Models, part: Episodes | Transitions, statistics: Statistics) -> PreparedEpisodes:
        advantages, values = estimated(models, part, self.lambda_)
        return prepared(part, advantages, statistics, values)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        """The policy's part of a step, as a function of the policy alone."""
        logprobs, entropy = models.policy.logprobs_and_entropy(batch.batch)
        losses = surrogate(real(logprobs, batch.mask), batch.batch.old_logprobs, batch.advantages)
        return Loss({"policy_avg": Term(losses, batch.mask)}, {"policy/entropy_avg": entropy.detach()})

    def critic_loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        """The critic's regression on the returns."""
        assert batch.returns is not None
        values = real(models.critic.values(batch.batch)[..., :-1], batch.mask)
        return Loss({"value_avg": Term(value_loss(values, batch.returns), batch.mask)})
