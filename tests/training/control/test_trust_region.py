"""TRPO's step against one made the long way: the whole Fisher matrix, an exact solution, a search by hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from groups import of_runs, real_steps
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from burnish.algorithms.trpo import TRPO
from burnish.batches import PreparedEpisodes, Transitions
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.policies.interface import Models
from burnish.training.control.lockstep import single_steps
from burnish.training.control.optimizer import Steps
from burnish.training.control.trust_region import TrustRegionLearner, trust_region_step
from burnish.training.resume import State

INPUTS, OUTPUTS, HIDDEN = 2, 2, 3
SEEDS = (3, 4, 5)
MASK = torch.tensor(
    [
        [[1, 1, 1, 1], [1, 1, 1, 0]],
        [[1, 1, 0, 0], [1, 0, 0, 0]],
        [[1, 1, 1, 1], [0, 0, 0, 0]],
    ],
    dtype=torch.bool,
)
EXACT = TRPO(cg_iterations=100, damping=1e-3)


def models_of(seeds: Sequence[int], continuous: bool) -> Models:
    """Networks with weights large enough that a policy is none of the uniform ones it begins near."""
    network: dict[str, Any] = {"hidden": (HIDDEN,), "dtype": torch.float64}
    policy = ControlPolicy(INPUTS, OUTPUTS, seeds, continuous=continuous, **network)
    with torch.no_grad():
        for row, seed in zip(policy.theta, seeds, strict=True):
            row.add_(torch.randn(row.shape, dtype=row.dtype, generator=torch.Generator().manual_seed(seed)) / 2)
    return Models(policy=policy, critic=ControlCritic(INPUTS, seeds, **network))


def rows(models: Models, continuous: bool, scales: Sequence[float] = (1.0, 1.0, 1.0)) -> PreparedEpisodes:
    """Random steps under `MASK`, with advantages of any size and returns; junk where there is no step."""
    generator = torch.Generator().manual_seed(7)
    shape, junk = MASK.shape, torch.where(MASK, 0.0, math.nan).double()
    normal = lambda *size: torch.randn(*size, dtype=torch.float64, generator=generator)  # noqa: E731
    actions = normal(*shape, OUTPUTS) if continuous else torch.randint(OUTPUTS, shape, generator=generator)
    advantages = normal(shape) * torch.tensor(scales, dtype=torch.float64)[:, None, None]
    returns = normal(shape) + 3
    batch = Transitions(
        mask=MASK,
        lengths=MASK.sum(-1),
        rows=torch.arange(shape[1]),
        old_logprobs=torch.zeros(shape, dtype=torch.float64),
        rewards=junk,
        discounts=torch.zeros(shape, dtype=torch.float64),
        observations=normal(*shape[:2], shape[2] + 1, INPUTS),
        actions=actions,
        runs=torch.arange(shape[0]),
        progress=torch.zeros(shape[0]),
    )
    with torch.no_grad():
        batch = replace(batch, old_logprobs=models.policy.logprobs(batch))
    return PreparedEpisodes(batch, advantages=advantages, returns=returns)


def rollout(models: Models, continuous: bool, scales: Sequence[float] = (1.0, 1.0, 1.0)) -> PreparedEpisodes:
    """`rows` as the single steps that they are made of."""
    return single_steps(rows(models, continuous, scales))


def named_of(models: Models) -> dict[str, Tensor]:
    return models.policy.named()


def theta_of(model: Any) -> Tensor:
    return model.theta.detach().clone()


def row(named: dict[str, Tensor], run: int) -> Tensor:
    """A run's weights in a row, in an order of our own."""
    return torch.cat([named[name][run].flatten() for name in sorted(named)])


# The long way ------------------------------------------------------------------------------------------------------


@dataclass
class Long:
    """One run's step, made the long way."""

    weights: Tensor
    shrunk: int | None
    kl: float
    gain: float


def network(named: dict[str, Tensor], run: int, weights: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a run's network gives for x with these weights, and the logarithms of the deviations if there are."""
    shapes = {name: named[name][run].shape for name in sorted(named)}
    pieces = weights.split([shape.numel() for shape in shapes.values()])
    parts = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
    hidden = torch.tanh(torch.nn.functional.linear(x, parts["layers.0.weight"], parts["layers.0.bias"]))
    return torch.nn.functional.linear(hidden, parts["layers.1.weight"], parts["layers.1.bias"]), parts.get("log_std")


def the_long_way(named: dict[str, Tensor], run: int, batch: PreparedEpisodes, algorithm: TRPO) -> Long:
    own, began = real_steps(batch, run), row(named, run)
    x, actions, advantages = own.batch.observations[0, 0], own.batch.actions[0, 0], own.advantages[0, 0]

    def policy(weights: Tensor) -> Any:
        out, log_std = network(named, run, weights, x)
        return Categorical(logits=out) if log_std is None else Independent(Normal(out, log_std.exp().expand_as(out)), 1)

    old = policy(began)

    def surrogate(weights: Tensor) -> Tensor:
        return ((policy(weights).log_prob(actions) - old.log_prob(actions)).exp() * advantages).mean()

    def kl(weights: Tensor) -> Tensor:
        return kl_divergence(old, policy(weights)).mean()

    slope = torch.autograd.functional.jacobian(surrogate, began)
    fisher = torch.autograd.functional.hessian(kl, began) + algorithm.damping * torch.eye(len(began)).double()
    direction = torch.linalg.solve(fisher, slope)
    full = math.sqrt(2 * algorithm.max_kl / (direction @ fisher @ direction)) * direction if slope.any() else direction
    for shrunk in range(algorithm.search_steps):
        tried = began + algorithm.shrink**shrunk * full
        gain = (surrogate(tried) - surrogate(began)).item()
        if gain > 0 and kl(tried) <= algorithm.max_kl:
            return Long(tried, shrunk, kl(tried).item(), gain)
    return Long(began, None, 0.0, 0.0)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("max_kl", [1e-4, 0.05, 0.5, 2.0])
def test_the_step_is_the_one_made_the_long_way(max_kl: float, continuous: bool) -> None:
    algorithm, models = replace(EXACT, max_kl=max_kl), models_of(SEEDS, continuous)
    batch = rollout(models, continuous, (1.0, 20.0, 0.01))
    named, critic = named_of(models), theta_of(models.critic)
    told = trust_region_step(algorithm, algorithm.region(), models, batch)
    found, shrunk = named_of(models), []
    for run in range(len(SEEDS)):
        expected = the_long_way(named, run, batch, algorithm)
        shrunk.append(expected.shrunk)
        torch.testing.assert_close(row(found, run), expected.weights, rtol=0, atol=1e-6)
        assert told["policy/kl_avg"][run].item() == pytest.approx(expected.kl, rel=1e-5, abs=1e-9)
        assert told["policy/surrogate_gain"][run].item() == pytest.approx(expected.gain, rel=1e-5, abs=1e-9)
        assert told["policy/accepted"][run] == (expected.shrunk is not None)
        assert told["policy/kl_avg"][run] <= max_kl
        assert told["policy/surrogate_gain"][run] > 0
    assert torch.equal(theta_of(models.critic), critic)
    assert max(shrunk) > 0 or max_kl < 0.01  # Most of these take a search.


@pytest.mark.parametrize("continuous", [False, True])
def test_products_are_with_the_whole_fisher_matrix(continuous: bool) -> None:
    """Of each run apart; the matrix by its definition, the mean over states of E[∇log π ∇log πᵀ], over all actions."""
    models = models_of(SEEDS, continuous)
    batch = rollout(models, continuous)
    policy: Any = models.policy
    product = policy.fisher_product(batch.batch)
    vectors = torch.randn(policy.theta.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = product(vectors)
    for run in range(len(SEEDS)):
        lone, own = models_of(SEEDS[run : run + 1], continuous), real_steps(batch, run).batch
        fisher = torch.zeros(policy.theta.shape[1], policy.theta.shape[1], dtype=torch.float64)
        for logprob, weight in scored(lone, own, continuous):
            (slope,) = torch.autograd.grad(logprob, lone.policy.theta, retain_graph=True)
            fisher += weight * slope[0][:, None] * slope[0]
        torch.testing.assert_close(found[run], fisher @ vectors[run], rtol=0, atol=1e-9)


def scored(models: Models, own: Transitions, continuous: bool) -> list[tuple[Tensor, Tensor]]:
    """log π(a|s) of actions in every state, and weights under which a sum is E over actions and the mean over states.

    Of a Gaussian by Gauss–Hermite quadrature with 4 points a number, exact for products of scores, which are
    polynomials of degree 4.
    """
    policy: Any = models.policy
    distribution, shape = policy.distribution(own), own.mask.shape
    if continuous:
        points, weights = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(4))
        noise = torch.cartesian_prod(points, points)
        actions = [(distribution.mean + distribution.log_std.exp() * z).detach() for z in noise]
        shares = [w.prod().expand(shape) / (2 * math.pi) for w in torch.cartesian_prod(weights, weights)]
    else:
        actions = [torch.full(shape, action) for action in range(OUTPUTS)]
        shares = [distribution.logprobs(action).exp().detach() for action in actions]
    found = [(distribution.logprobs(action), share) for action, share in zip(actions, shares, strict=True)]
    count = int(own.mask.sum())
    return [(logprobs.flatten()[i], share.flatten()[i] / count) for logprobs, share in found for i in range(count)]


# What a step leaves alone ------------------------------------------------------------------------------------------


def test_without_advantages_nothing_moves() -> None:
    models = models_of(SEEDS, False)
    before, batch = theta_of(models.policy), rollout(models, False, (1.0, 0.0, 1.0))
    told = trust_region_step(EXACT, EXACT.region(), models, batch)
    assert [torch.equal(a, b) for a, b in zip(theta_of(models.policy), before, strict=True)] == [False, True, False]
    assert told["policy/accepted"].tolist() == [1, 0, 1]
    assert told["policy/kl_avg"][1] == told["policy/surrogate_gain"][1] == 0


@pytest.mark.parametrize(("steps", "accepted"), [(1, [0, 1, 0]), (2, [0, 1, 1])])
def test_a_policy_for_which_no_step_is_good_enough_stays(steps: int, accepted: list[int]) -> None:
    """The long way takes five searches for run 0, none for run 1 and one for run 2."""
    algorithm, models = replace(EXACT, max_kl=2.0, search_steps=steps), models_of(SEEDS, False)
    before, batch = theta_of(models.policy), rollout(models, False, (1.0, 20.0, 0.01))
    told = trust_region_step(algorithm, algorithm.region(), models, batch)
    assert told["policy/accepted"].tolist() == accepted
    for run, taken in enumerate(accepted):
        assert torch.equal(theta_of(models.policy)[run], before[run]) == (not taken)
        assert (told["policy/kl_avg"][run] > 0) == (told["policy/surrogate_gain"][run] > 0) == bool(taken)


@pytest.mark.parametrize("continuous", [False, True])
def test_runs_step_as_each_alone(continuous: bool) -> None:
    """One without advantage, one far off and one near; with so few iterations that a common stop would show."""
    algorithm, models = replace(EXACT, max_kl=0.5, cg_iterations=6), models_of(SEEDS, continuous)
    batch = rollout(models, continuous, (0.0, 1e4, 1.0))
    told = trust_region_step(algorithm, algorithm.region(), models, batch)
    for run, seed in enumerate(SEEDS):
        alone = models_of([seed], continuous)
        one = trust_region_step(algorithm, algorithm.region(), alone, real_steps(batch, run))
        torch.testing.assert_close(theta_of(models.policy)[run], theta_of(alone.policy)[0], rtol=0, atol=1e-9)
        for name, values in one.items():
            torch.testing.assert_close(told[name][run], values[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("junk", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_names_its_run_and_nothing_moves(junk: float) -> None:
    models = models_of(SEEDS, False)
    before, batch = theta_of(models.policy), rollout(models, False)
    sound, failures = models_of(SEEDS, False), {}  # type: ignore[var-annotated]
    told = trust_region_step(EXACT, EXACT.region(), sound, batch)
    batch.advantages[1, 0, 0] = junk
    found = trust_region_step(EXACT, EXACT.region(), models, batch, failures)
    assert failures == {1: "the advantages overflow float64: lower the learning rate"}
    assert torch.equal(theta_of(models.policy)[1], before[1])
    for run in (0, 2):
        assert torch.equal(theta_of(models.policy)[run], theta_of(sound.policy)[run])
        assert found["policy/kl_avg"][run] == told["policy/kl_avg"][run] > 0


# The learner -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("continuous", [False, True])
def test_the_policy_steps_and_then_the_critic_regresses(continuous: bool) -> None:
    """The policy as by its step alone; the critic as torch's Adam has it, on the mean of ½ (V − R)²."""
    steps, algorithm = Steps(0.05, max_grad_norm=0.5, adam_eps=1e-3), replace(EXACT, update_epochs=3)
    models, lone = models_of(SEEDS, continuous), models_of(SEEDS, continuous)
    critic: Any = models.critic
    named, batch = critic.named(), rows(models, continuous)
    learner = TrustRegionLearner(algorithm, models, steps, SEEDS)
    (part,) = learner.minibatches(batch, State())
    told = learner.update(part, State(), first=False)
    trust_region_step(algorithm, algorithm.region(), lone, single_steps(batch))
    assert told is not None
    assert torch.equal(theta_of(models.policy), theta_of(lone.policy))
    for run in range(len(SEEDS)):
        own, weights = real_steps(single_steps(batch), run), torch.nn.Parameter(row(named, run))
        assert own.returns is not None
        optimizer = torch.optim.Adam([weights], lr=0.05, eps=1e-3)
        for _ in range(3):
            values = network(named, run, weights, own.batch.observations[0, 0])[0][:, 0]
            loss = (values - own.returns[0, 0]).square().mean() / 2
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([weights], 0.5)
            optimizer.step()
        torch.testing.assert_close(row(critic.named(), run), weights.detach(), rtol=0, atol=1e-9)
        torch.testing.assert_close(told["loss/value_avg"][run], loss.detach())


def test_a_regression_that_is_not_finite_comes_after_the_policys_step() -> None:
    models, lone = models_of(SEEDS, False), models_of(SEEDS, False)
    critic, batch = theta_of(models.critic), rows(models, False)
    assert batch.returns is not None
    batch.returns[2, 0, 1] = math.inf
    learner = TrustRegionLearner(EXACT, models, Steps(0.05), SEEDS, 10)
    batch = numbered(batch, 10, 11, 12)
    assert learner.update(batch, State(), first=False) is not None
    trust_region_step(EXACT, EXACT.region(), lone, single_steps(batch))
    assert torch.equal(theta_of(models.policy), theta_of(lone.policy))
    assert [torch.equal(a, b) for a, b in zip(theta_of(models.critic), critic, strict=True)] == [False, False, True]
    assert learner.critic.failed == {12: "after 0 updates, the returns overflow float64: lower the learning rate"}
    assert learner.updates == {10: 1, 11: 1, 12: 1}


def test_runs_that_left_before_the_first_rollout_ended_are_not_missed() -> None:
    """Runs 10 and 12 of 10, 11 and 12: the critic's order of minibatches is still each run's own."""
    algorithm, steps, left = replace(EXACT, update_epochs=2), Steps(0.05, batch_size=2), (0, 2)
    models = models_of(SEEDS, False)
    batch = rows(models, False).batch
    learner = TrustRegionLearner(algorithm, models, steps, SEEDS, 10)
    for model in (models.policy, models.critic):
        model.keep(torch.tensor(left))
    remaining = replace(of_runs(batch, left), runs=torch.tensor([10, 12]))
    learner.update(learner.prepare(remaining, State()), State(), first=False)
    for place, run in enumerate(left):
        alone = models_of(SEEDS[run : run + 1], False)
        other = TrustRegionLearner(algorithm, alone, steps, SEEDS[run : run + 1])
        own = replace(of_runs(batch, (run,)), runs=torch.tensor([0]))
        other.update(other.prepare(own, State()), State(), first=False)
        torch.testing.assert_close(theta_of(models.critic)[place], theta_of(alone.critic)[0], rtol=0, atol=1e-9)


def numbered(batch: PreparedEpisodes, *runs: int) -> PreparedEpisodes:
    """The same rows, of runs with these numbers."""
    return replace(batch, batch=replace(batch.batch, runs=torch.tensor(runs)))
