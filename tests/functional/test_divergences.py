"""Implicit rewards of divergences: by hand, in their limits, and finite at ±1,000."""

import math
from functools import partial

import pytest
import torch

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers

LOG2, LOG3 = math.log(2), math.log(3)

REWARDS = {
    "forward_kl": fn.forward_kl_reward,
    "js": fn.js_reward,
    "alpha": partial(fn.alpha_reward, alpha=0.5),
    "alpha, near 0": partial(fn.alpha_reward, alpha=0.01),
}


def test_by_hand() -> None:
    """u = 3: 1 − ⅓, log(6/4), and with α = ½ 2 (1 − 1/√3). u = ⅓: 1 − 3, log(⅔ · ¾) = log ½, 2 (1 − √3)."""
    ratios = f64([LOG3, -LOG3])
    close(fn.forward_kl_reward(ratios), [2 / 3, -2.0])
    close(fn.js_reward(ratios), [math.log(1.5), math.log(0.5)])
    close(fn.alpha_reward(ratios, 0.5), [2 - 2 / math.sqrt(3), 2 - 2 * math.sqrt(3)])


def test_at_the_reference() -> None:
    """0, with slope 1; ½ for Jensen–Shannon."""
    zero = f64([0.0])
    for name, reward in REWARDS.items():
        close(reward(zero), [0.0])
        close(gradients(reward, zero)[0] / gradients(lambda x: x, zero)[0], [0.5 if name == "js" else 1.0])


def test_alpha_interpolates_between_reverse_and_forward_kl() -> None:
    ratios = numbers(8)
    close(fn.alpha_reward(ratios, 1.0), fn.forward_kl_reward(ratios))
    close(fn.alpha_reward(ratios, 1e-9), ratios, tolerance=1e-7)
    close(fn.alpha_reward(f64([LOG3, LOG3]), f64([0.5, 1.0])), [2 - 2 / math.sqrt(3), 2 / 3])


def test_jensen_shannon_is_bounded_above_and_the_forward_kl_unbounded_below() -> None:
    close(fn.js_reward(f64([50.0, 1000.0])), [LOG2, LOG2])
    close(fn.js_reward(f64([-1000.0])), [LOG2 - 1000.0])
    close(fn.forward_kl_reward(f64([1000.0, -20.0])), [1.0, 1 - math.exp(20)], tolerance=1e-9)


def test_the_tangent_takes_over_at_30() -> None:
    """1 − e^30 there, and from there on slope e^30: at −32, 1 − 3 e^30; for α = ½ at −64 twice that."""
    steep = math.exp(30)
    close(fn.forward_kl_reward(f64([-29.0, -30.0, -32.0])), [1 - math.exp(29), 1 - steep, 1 - 3 * steep])
    close(fn.alpha_reward(f64([-64.0]), 0.5), [2 * (1 - 3 * steep)])
    leaf = f64([-29.9, -30.1, -500.0]).requires_grad_()
    close(torch.autograd.grad(fn.forward_kl_reward(leaf).sum(), leaf)[0], [math.exp(29.9), steep, steep])


def divergence(name: str, log_policy: torch.Tensor, log_reference: torch.Tensor) -> torch.Tensor:
    """Σ π_ref f(π/π_ref), term by term from the definitions, for the derivative below."""
    policy, reference = log_policy.exp(), log_reference.exp()
    u = policy / reference
    if name == "forward_kl":
        return (reference * -u.log()).sum()
    if name == "js":
        return (reference * (u * u.log() - (u + 1) * ((u + 1) / 2).log())).sum()
    a = 0.01 if "near" in name else 0.5
    return (reference * (u ** (1 - a) - (1 - a) * u - a) / (a * (a - 1))).sum()


@pytest.mark.parametrize("name", REWARDS)
def test_reward_is_the_derivative_of_the_divergence(name: str) -> None:
    """∂D_f/∂π(y) = f′(u) up to a constant, with the probabilities as independent variables."""
    log_reference = numbers(5, seed=1).log_softmax(-1)
    log_policy = numbers(5).log_softmax(-1)
    policy = log_policy.exp().requires_grad_()
    slope = torch.autograd.grad(divergence(name, policy.log(), log_reference), policy)[0]
    reward = REWARDS[name](log_policy - log_reference)
    close(slope - slope[0], reward - reward[0], tolerance=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", REWARDS)
def test_finite_at_a_thousand(name: str, dtype: torch.dtype) -> None:
    """So are the squares of the slopes, which the norm of a gradient sums."""
    ratios = torch.tensor([1000.0, -1000.0], dtype=dtype)
    assert REWARDS[name](ratios).isfinite().all()
    assert all(slope.square().isfinite().all() for slope in gradients(REWARDS[name], ratios))

    def loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        return fn.dpo(REWARDS[name](chosen), REWARDS[name](rejected), 1.0)

    for chosen, rejected in [(ratios[:1], ratios[1:]), (ratios[1:], ratios[:1])]:
        assert loss(chosen, rejected).isfinite().all()
        assert all(slope.square().isfinite().all() for slope in gradients(loss, chosen, rejected))


@pytest.mark.parametrize("name", REWARDS)
def test_gradients_against_finite_differences(name: str) -> None:
    assert_gradients(REWARDS[name], numbers(8))
