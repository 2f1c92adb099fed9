"""TRPO's step: as far along the natural gradient as the policy's distributions may move, each run by itself."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor

from burnish.algorithms.interface import Algorithm, TrustRegion
from burnish.algorithms.terms import Loss
from burnish.batches import Prepared, Transitions
from burnish.functional import backtracking_search, conjugate_gradient, masked_mean
from burnish.policies.interface import ExactPolicy, Models
from burnish.training.control.lockstep import LockstepLearner, metric_means, single_steps
from burnish.training.control.optimizer import Steps
from burnish.training.control.overflow import overflow
from burnish.training.resume import State
from burnish.training.step import objective, prepared

UPDATES = "updates"


class CriticRegression(Algorithm):
    """The critic's own objective, as an algorithm for the gradient step."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm = algorithm

    @property
    def passes(self) -> int:
        return self.algorithm.passes

    def loss(self, models: Models, batch: Prepared) -> Loss:
        return self.algorithm.critic_loss(models, batch)


class TrustRegionLearner:
    """One trust-region step of the policy per rollout, and an ordinary regression of the critic."""

    dropout = False

    def __init__(
        self,
        algorithm: Any,
        models: Models,
        steps: Steps,
        seeds: Sequence[int],
        first: int = 0,
        failed: dict[int, str] | None = None,
    ) -> None:
        self.algorithm, self.models, self.region = algorithm, models, algorithm.region()
        failed = {} if failed is None else failed
        regression = CriticRegression(algorithm)
        self.critic = LockstepLearner(regression, models, steps, seeds, first, ("critic",), failed)
        self.updates = dict.fromkeys(self.critic.runs, 0)
        """The steps that each run's policy has tried, by the run's number."""

    def prepare(self, batch: Transitions, state: State) -> Prepared:
        self.critic.narrow(batch)
        (ready,) = prepared(self.algorithm, self.models, [batch], {})
        return ready

    def minibatches(self, batch: Prepared, state: State) -> Iterator[Prepared]:
        """The whole rollout, once: the critic divides it further for itself."""
        yield batch

    def update(self, part: Prepared, state: State, first: bool) -> dict[str, Any] | None:
        failures: dict[int, str] = {}
        metrics = trust_region_step(self.algorithm, self.region, self.models, single_steps(part), failures)
        for r, reason in failures.items():
            self.critic.fail(r, reason)
        for run in self.critic.runs:
            self.updates[run] += run not in self.critic.failed
        # The policy moves first: its advantages are based on the critic before its update.
        for piece in self.critic.minibatches(part, state):
            found = self.critic.update(piece, state, first)
        return metrics | {"loss/value_avg": found["loss"]} if found else metrics

    def conclude(self, batch: Prepared, state: State) -> None:
        """Nothing adapts: the step itself decides how far it goes."""
        self.critic.check()

    def note(self, metrics: dict[str, Any], state: State) -> None:
        self.critic.note(metrics, state)

    def record(self, state: State) -> dict[str, float]:
        return self.critic.record(state)

    def pace(self, seconds: float) -> dict[str, Any]:
        return self.critic.pace(seconds)

    def recorded_by_run(self) -> dict[int, dict[str, float]]:
        return self.critic.recorded_by_run()

    def save(self, state: State, goes_on: bool = False) -> None:
        self.critic.save(state)

    def named(self, run: int) -> dict[str, Tensor]:
        """What the next update of the run with this number would depend on, and the number of its updates."""
        return self.critic.named(run) | {UPDATES: torch.tensor(self.updates[run])}

    def load_named(self, saved: Sequence[Mapping[str, Tensor]]) -> None:
        """Load what `named` gave, one per run."""
        self.critic.load_named(saved)
        self.updates |= {run: int(own[UPDATES]) for run, own in zip(self.critic.runs, saved, strict=True)}


def trust_region_step(
    algorithm: Algorithm, region: TrustRegion, models: Models, batch: Prepared, failures: dict[int, str] | None = None
) -> dict[str, Tensor]:
    """Move every run's policy, in place, and say how far; a run for which no step is good enough stays where it was.

    s = (F + damping·I)⁻¹ g,  Δθ = √(2·max_kl / sᵀ(F + damping·I)s) · s, and then shorter until the surrogate has
    improved and KL(π_old‖π) ≤ max_kl, g being the surrogate's gradient and F the Fisher matrix of the policy.

    Schulman et al. (2015), "Trust Region Policy Optimization", appendix C. F v is the derivative of (∇KL)ᵀv at π_old,
    exact over the distributions and averaged over the states. A run whose gradient or curvature is not finite stays
    where it was, and `failures` gets the reason by its position.
    """
    policy = cast(ExactPolicy, models.policy)
    (theta,) = policy.parameters().values()
    before = theta.detach().clone()
    old = deepcopy(
        policy.distribution(batch.batch).detach()
    )  # theta moves in place, and a Gaussian's deviations are part of it
    loss = algorithm.loss(models, batch)
    began = objective(loss, batch.counts())
    (slope,) = torch.autograd.grad(began.sum(), theta)
    began = began.detach()
    reasons = {} if failures is None else failures
    lost = ~torch.isfinite(slope).all(-1)
    slope = torch.where(lost[:, None], 0.0, slope)
    product = policy.fisher_product(batch.batch)
    direction = conjugate_gradient(product, -slope, region.iterations, region.damping)
    curvature = (direction * (product(direction) + region.damping * direction)).sum(-1, keepdim=True)
    lost = lost | ~torch.isfinite(curvature[:, 0])
    for r in lost.nonzero().flatten().tolist():
        reasons[r] = overflow(r, loss, batch, {"policy": theta.detach()}, "the surrogate's gradient")
    direction = torch.where(lost[:, None], 0.0, direction)
    # Without curvature there is no direction either, and a step of 0 is right.
    full_step = direction * (2 * region.max_kl / torch.where(curvature > 0, curvature, 1.0)).sqrt()

    value, kl = began, torch.zeros_like(began)

    @torch.no_grad()
    def good(step: Tensor) -> Tensor:
        nonlocal value, kl  # of the latest steps, which are in the end those of the runs that have accepted one
        theta.copy_(before + step)
        value = objective(algorithm.loss(models, batch), batch.counts())
        kl = masked_mean(old.kl(policy.distribution(batch.batch)), batch.mask, (-2, -1))
        return (value < began) & (kl <= region.max_kl)

    step, accepted = backtracking_search(good, full_step, region.shrink, region.tries)
    theta.detach().copy_(before + step)
    return metric_means(loss, batch) | {
        "loss": began,
        "policy/surrogate_gain": torch.where(accepted, began - value, 0.0),
        "policy/kl_avg": torch.where(accepted, kl, 0.0),
        "policy/accepted": accepted.to(kl.dtype),
    }
