"""Trust-region policy optimisation."""

from dataclasses import dataclass, field

import torch

from burnish.algorithms.advantages import prepared, real
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes
from burnish.functional import gae, surrogate, value_loss
from burnish.policies.interface import Models


@dataclass(frozen=True)
class TRPO:
    """The actor-critic's gradient, followed as far as the policy's distributions may move.

    min_θ L(θ) = mean_t [ −ρ_t A_t ]  subject to  mean_t KL(π_old(·|s_t)‖π_θ(·|s_t)) ≤ max_kl,
    ρ = π_θ(a)/π_old(a),  A = GAE(λ) of the critic before the step;  and the critic's own mean_t ½ (V_φ(s_t) − R_t)²

    The step itself, conjugate gradients on products with the Fisher matrix and then a search along the direction, is
    training's; this says what it minimises and how it searches. `loss` is the policy's alone: the critic learns in an
    ordinary regression, `value_loss`, in `update_epochs` passes over the rollout.

    Schulman et al. (2015), "Trust Region Policy Optimization", eq. 14 and appendix C; the critic and its advantages:
    Schulman et al. (2015), "High-Dimensional Continuous Control Using Generalized Advantage Estimation".
    Differs: the critic has no trust region of its own, as it has in the latter; advantages are standardised and the
    Fisher matrix is damped, as codes do.
    """

    max_kl: float = field(
        default=0.01, metadata={"help": "largest mean KL of a step from the sampling policy, in nats"}
    )
    lambda_: float = field(default=0.95, metadata={"help": "GAE's λ: 1 trusts the returns, 0 the critic"})
    cg_iterations: int = field(default=10, metadata={"help": "conjugate-gradient iterations for the direction"})
    damping: float = field(default=0.1, metadata={"help": "added to the Fisher matrix's diagonal"})
    shrink: float = field(default=0.8, metadata={"help": "each step tried is this much of the one before"})
    search_steps: int = field(default=10, metadata={"help": "step lengths tried before the policy is left as it was"})
    update_epochs: int = field(default=10, metadata={"help": "the critic's passes over the episodes of one rollout"})
    standardise_advantages: bool = field(
        default=True, metadata={"help": "advantages of a rollout to mean 0 and variance 1 over its real steps"}
    )

    def __post_init__(self) -> None:
        if not self.max_kl > 0:
            raise ValueError(f"max_kl must be above 0, not {self.max_kl}: at 0 no step is allowed")
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_ must lie in [0, 1], not {self.lambda_}: it weighs returns against the critic")
        if not self.damping >= 0:
            raise ValueError(f"damping must not be negative, as {self.damping} is: the solver needs a positive matrix")
        if not 0 < self.shrink < 1:
            raise ValueError(f"shrink must lie in (0, 1), not {self.shrink}: steps tried must become shorter")
        for name in ("cg_iterations", "search_steps", "update_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @torch.no_grad()
    def prepare(self, models: Models, batch: Episodes) -> Episodes:
        assert models.critic is not None
        values = models.critic.values(batch)
        advantages = gae(batch.rewards, values, batch.discounts, batch.mask, self.lambda_)
        return prepared(batch, advantages, values, standardised=self.standardise_advantages)

    def loss(self, models: Models, batch: Episodes) -> Loss:
        """The policy's part of a step, as a function of the policy alone."""
        assert batch.advantages is not None
        logprobs, entropy = models.policy.logprobs_and_entropy(batch)
        losses = surrogate(real(logprobs, batch.mask), batch.old_logprobs, batch.advantages)
        return Loss({"policy_avg": Term(losses, batch.mask)}, {"policy/entropy_avg": entropy.detach()})

    def value_loss(self, models: Models, batch: Episodes) -> Loss:
        """The critic's regression on the returns."""
        assert models.critic is not None
        assert batch.returns is not None
        values = real(models.critic.values(batch)[..., :-1], batch.mask)
        return Loss({"value_avg": Term(value_loss(values, batch.returns), batch.mask)})
