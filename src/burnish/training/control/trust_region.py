"""TRPO's step: as far along the natural gradient as the policy's distributions may move, each run by itself."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from burnish.algorithms.terms import Loss
from burnish.batches import Episodes
from burnish.functional import backtracking_search, conjugate_gradient, masked_mean
from burnish.policies.interface import ExactPolicy, Models
from burnish.run import UserError
from burnish.training.control.lockstep import LockstepLearner, Steps, denominators, loose_steps, measure
from burnish.training.resume import State
from burnish.training.step import objective


@dataclass(frozen=True)
class Regression:
    """The critic's own objective, as an algorithm for the gradient step."""

    algorithm: Any

    @property
    def update_epochs(self) -> int:
        return self.algorithm.update_epochs

    def loss(self, models: Models, batch: Episodes) -> Loss:
        return self.algorithm.value_loss(models, batch)


class TrustRegionLearner:
    """One trust-region step of the policy a rollout, and an ordinary regression of the critic."""

    dropout = False

    def __init__(self, algorithm: Any, models: Models, steps: Steps, seeds: Sequence[int], first: int = 0) -> None:
        self.algorithm, self.models = algorithm, models
        self.critic = LockstepLearner(Regression(algorithm), models, steps, seeds, first, parts=("critic",))

    def minibatches(self, batch: Episodes, state: State) -> Iterator[Episodes]:
        """All of the rollout, once: the critic divides it further for itself."""
        yield batch

    def update(self, part: Episodes, state: State, between: bool) -> dict[str, Any] | None:
        metrics = trust_region_step(self.algorithm, self.models, loose_steps(part))
        # The policy moves first: its advantages are of the critic as it was.
        for piece in self.critic.minibatches(part, state):
            found = self.critic.update(piece, state, between)
        return metrics | {"loss/value_avg": found["loss"]} if found else metrics

    def conclude(self, batch: Episodes, state: State) -> None:
        """Nothing: how far a step went, the step itself has seen to."""

    def record(self, metrics: dict[str, Any]) -> dict[str, float]:
        return self.critic.record(metrics)

    def save(self, state: State) -> None:
        self.critic.save(state)


def trust_region_step(algorithm: Any, models: Models, batch: Episodes) -> dict[str, Tensor]:
    """Move every run's policy, in place, and say how far; a run for which no step is good enough stays where it was.

    s = (F + damping·I)⁻¹ g,  Δθ = √(2·max_kl / sᵀ(F + damping·I)s) · s, and then shorter until the surrogate has
    improved and KL(π_old‖π) ≤ max_kl, g being the surrogate's gradient and F the Fisher matrix of the policy.

    Schulman et al. (2015), "Trust Region Policy Optimization", appendix C. F v is the derivative of (∇KL)ᵀv at π_old,
    exact over the distributions and averaged over the states. Raises UserError, before anything moves, where a run's
    gradient is not finite.
    """
    policy = cast(ExactPolicy, models.policy)
    (theta,) = policy.parameters().values()
    before = theta.detach().clone()
    old = deepcopy(policy.distribution(batch).detach())  # theta moves in place, and a Gaussian's deviations are of it
    loss = algorithm.loss(models, batch)
    began = objective(loss, denominators(batch))
    (slope,) = torch.autograd.grad(began.sum(), theta)
    began = began.detach()
    if not torch.isfinite(slope).all():
        worst = int((~torch.isfinite(slope).all(-1)).nonzero()[0])
        number = "" if batch.runs is None else f"run {int(batch.runs[worst])}: "
        raise UserError(f"{number}the surrogate's gradient is not finite, and nothing was updated: lower max_kl")
    product = policy.fisher_product(batch)
    direction = conjugate_gradient(product, -slope, algorithm.cg_iterations, algorithm.damping)
    curvature = (direction * (product(direction) + algorithm.damping * direction)).sum(-1, keepdim=True)
    # Without curvature there is no direction either, and a step of 0 is right.
    full_step = direction * (2 * algorithm.max_kl / torch.where(curvature > 0, curvature, 1.0)).sqrt()

    value, kl = began, torch.zeros_like(began)

    @torch.no_grad()
    def good(step: Tensor) -> Tensor:
        nonlocal value, kl  # of the latest steps, which are in the end those of the runs that have accepted one
        theta.copy_(before + step)
        value = objective(algorithm.loss(models, batch), denominators(batch))
        kl = masked_mean(old.kl(policy.distribution(batch)), batch.mask, (-2, -1))
        return (value < began) & (kl <= algorithm.max_kl)

    step, accepted = backtracking_search(good, full_step, algorithm.shrink, algorithm.search_steps)
    theta.detach().copy_(before + step)
    return measure(loss, batch) | {
        "loss": began,
        "policy/surrogate_gain": torch.where(accepted, began - value, 0.0),
        "policy/kl_avg": torch.where(accepted, kl, 0.0),
        "policy/accepted": accepted.to(kl.dtype),
    }
