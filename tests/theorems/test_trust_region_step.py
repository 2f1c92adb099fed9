"""TRPO's step from its two solvers, on a policy of several states: what it promises of every accepted step."""

import pytest
import torch
from torch import Tensor

import burnish.functional as fn

from .bandits import all_logprobs, close, numbers

RUNS, STATES, ACTIONS = 3, 4, 5


def flat_kl(old: Tensor, new: Tensor) -> Tensor:
    """Mean over states of KL(old‖new), of parameters [..., S · A]."""
    shape = (*new.shape[:-1], STATES, ACTIONS)
    return fn.categorical_kl(old.reshape(shape), new.reshape(shape)).mean(-1)


def improvement(old: Tensor, new: Tensor, advantages: Tensor) -> Tensor:
    """What the surrogate gains over all states and actions, each as likely as under the old policy."""
    old, new = (x.reshape(*x.shape[:-1], STATES, ACTIONS) for x in (old, new))
    old_logprobs = all_logprobs(old)
    gains = -fn.surrogate(all_logprobs(new), old_logprobs, advantages) - advantages
    return (old_logprobs.exp() * gains).sum(-1).mean(-1)


def trpo_step(old: Tensor, advantages: Tensor, max_kl: float, iterations: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """The step, whether it was accepted, and the full step from which the search began."""
    leaf = old.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(improvement(old, leaf, advantages).sum(), leaf)

    def product(v: Tensor) -> Tensor:
        at = old.clone().requires_grad_()
        (slope,) = torch.autograd.grad(flat_kl(old, at).sum(), at, create_graph=True)
        return torch.autograd.grad((slope * v).sum(), at)[0]

    direction = fn.conjugate_gradient(product, gradient, iterations, damping=1e-6)
    curvature = (direction * product(direction)).sum(-1, keepdim=True)
    full_step = direction * (2 * max_kl / curvature.clamp(min=1e-30)).sqrt()

    def evaluate(step: Tensor) -> Tensor:
        return (improvement(old, old + step, advantages) > 0) & (flat_kl(old, old + step) <= max_kl)

    return *fn.backtracking_search(evaluate, full_step), full_step


def problems() -> tuple[Tensor, Tensor]:
    old = numbers(RUNS, STATES * ACTIONS)
    scores = numbers(RUNS, STATES, ACTIONS, seed=1) * torch.tensor([1.0, 10.0, 0.1]).double()[:, None, None]
    probabilities = old.reshape(RUNS, STATES, ACTIONS).softmax(-1)
    return old, scores - (probabilities * scores).sum(-1, keepdim=True)


@pytest.mark.parametrize("max_kl", [1e-4, 0.01, 0.3])
def test_accepted_step_stays_in_the_region_and_raises_the_surrogate(max_kl: float) -> None:
    old, advantages = problems()
    step, accepted, _ = trpo_step(old, advantages, max_kl)
    assert accepted.all()
    assert (flat_kl(old, old + step) <= max_kl).all()
    assert (flat_kl(old, old + step) > 0.3 * max_kl).all()
    assert (improvement(old, old + step, advantages) > 0).all()


def test_full_step_spends_the_whole_region_to_second_order() -> None:
    old, advantages = problems()
    _, _, full_step = trpo_step(old, advantages, 1e-6)
    close(flat_kl(old, old + full_step) / 1e-6, torch.ones(RUNS).double(), tolerance=1e-2)


def test_direction_is_the_natural_gradient() -> None:
    """For a softmax the Fisher matrix is diag(p) − ppᵀ, and the natural gradient of Σ p A is A itself, up to a constant
    of the state: here Σ p A = 0, and the constant is its plain mean."""
    old, advantages = problems()
    _, _, full_step = trpo_step(old, advantages, 0.01, iterations=100)
    centred = (advantages - advantages.mean(-1, keepdim=True)).reshape(RUNS, -1)
    cosine = torch.cosine_similarity(full_step, centred, dim=-1)
    close(cosine, torch.ones(RUNS).double(), tolerance=1e-6)


def test_runs_together_step_as_each_alone() -> None:
    old, advantages = problems()
    step, accepted, _ = trpo_step(old, advantages, 0.3)
    for run in range(RUNS):
        alone, accepted_alone, _ = trpo_step(old[run], advantages[run], 0.3)
        assert accepted[run] == accepted_alone
        close(step[run], alone, tolerance=1e-9)


def test_a_run_without_advantage_does_not_move() -> None:
    old, advantages = problems()
    advantages[1] = 0.0
    step, accepted, _ = trpo_step(old, advantages, 0.01)
    assert accepted.tolist() == [True, False, True]
    assert (step[1] == 0).all()
