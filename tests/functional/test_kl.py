"""KL: by hand, with impossible actions, and for nearly equal policies."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers


def test_kl_by_hand() -> None:
    """p = (1/8, 2/8, 5/8), q uniform: Σ p log(3p); and in the other direction Σ ⅓ log(⅓/p)."""
    p = [1 / 8, 2 / 8, 5 / 8]
    logits_p, logits_q = f64(p).log() + 5, f64([2.0, 2.0, 2.0])
    close(fn.categorical_kl(logits_p, logits_q), sum(x * math.log(3 * x) for x in p))
    close(fn.categorical_kl(logits_q, logits_p), sum(math.log(1 / (3 * x)) / 3 for x in p))
    close(fn.categorical_kl(logits_p, logits_p - 3), 0.0)


def test_leading_dimensions_broadcast() -> None:
    logits_p, logits_q = numbers(2, 4, 5), numbers(5, seed=1)
    result = fn.categorical_kl(logits_p, logits_q)
    assert result.shape == (2, 4)
    for i in range(2):
        for j in range(4):
            p, q = logits_p[i, j].softmax(-1).tolist(), logits_q.softmax(-1).tolist()
            close(result[i, j], math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))


def test_impossible_actions() -> None:
    """Impossible in both: no contribution. In p only: 0 · log 0 = 0. In q only: ∞."""
    none = -math.inf
    both = fn.categorical_kl(f64([0.0, 1.0, none]), f64([1.0, 0.5, none]))
    close(both, fn.categorical_kl(f64([0.0, 1.0]), f64([1.0, 0.5])))
    close(fn.categorical_kl(f64([0.0, 0.0, none]), f64([0.0, 0.0, 0.0])), math.log(1.5))
    assert fn.categorical_kl(f64([0.0, 0.0]), f64([0.0, none])) == math.inf
    assert fn.categorical_kl(f64([0.0, -800.0]), f64([0.0, none])) == math.inf


@pytest.mark.parametrize(
    ("logits_p", "logits_q"), [([0.0, 1.0, -math.inf], [1.0, 0.5, -math.inf]), ([0.0, 1.0, -math.inf], [1.0, 0.5, 0.0])]
)
def test_gradients_beside_impossible_actions_are_those_of_the_formula(logits_p: list, logits_q: list) -> None:
    """∂/∂logit_q = q − p, and ∂/∂logit_p = p (log p/q − KL), which is 0 where p is."""
    p, q = f64(logits_p).softmax(-1), f64(logits_q).softmax(-1)
    log_ratio = torch.where(p > 0, (p / q).log(), 0.0)
    kl = (p * log_ratio).sum()
    leaf_p, leaf_q = f64(logits_p).requires_grad_(), f64(logits_q).requires_grad_()
    gradient_p, gradient_q = torch.autograd.grad(fn.categorical_kl(leaf_p, leaf_q), [leaf_p, leaf_q])
    close(gradient_q, q - p)
    close(gradient_p, p * (log_ratio - kl))


def test_an_infinite_divergence_has_no_nan_gradient() -> None:
    for slope in gradients(fn.categorical_kl, f64([[0.0, 0.0], [0.0, 1.0]]), f64([[0.0, -math.inf], [1.0, 0.0]])):
        assert slope.isfinite().all()
        assert (slope[1] != 0).all()


def test_nan_logits_give_nan() -> None:
    bad, good = f64([float("nan"), 0.0]), f64([0.0, 0.0])
    assert fn.categorical_kl(bad, good).isnan()
    assert fn.categorical_kl(good, bad).isnan()


def test_estimators_by_hand() -> None:
    """d = log π − log π_ref = log 2: k1 = log 2, k2 = ½ log² 2, k3 = ½ − 1 + log 2; and k3(−log 2) = 2 − 1 − log 2."""
    logprobs, ref_logprobs = f64([-1.0, -1.0]), f64([-1.0 - math.log(2), -1.0 + math.log(2)])
    close(fn.k1(logprobs, ref_logprobs), [math.log(2), -math.log(2)])
    close(fn.k2(logprobs, ref_logprobs), [math.log(2) ** 2 / 2] * 2)
    close(fn.k3(logprobs, ref_logprobs), [math.log(2) - 0.5, 1 - math.log(2)])


def test_k3_of_close_policies_is_not_rounding_error() -> None:
    """d = 2⁻¹⁷ in float64: d²/2 − d³/6 + d⁴/24 by exact fractions. exp(−d) − 1 would lose six of the digits."""
    d = Fraction(1, 2**17)
    expected = float(d**2 / 2 - d**3 / 6 + d**4 / 24)
    result = fn.k3(f64([float(d)]), f64([0.0])).item()
    assert result == pytest.approx(expected, rel=1e-10)
    single = fn.k3(torch.tensor([2.0**-9]), torch.zeros(1)).item()
    assert single == pytest.approx(2.0**-19 - 2.0**-27 / 6, rel=2e-4)


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_k3_is_never_negative_beyond_rounding(a: float, b: float) -> None:
    assert fn.k3(f64([a]), f64([b])).item() >= -1e-15


def test_gradients() -> None:
    """By the formulas: 1, d and 1 − e^{−d} for the policy, and their negatives for the reference."""
    logprobs, ref_logprobs = numbers(6), numbers(6, seed=1)
    d, weights = logprobs - ref_logprobs, numbers(6, seed=99)
    for function, slope in ((fn.k1, torch.ones_like(d)), (fn.k2, d), (fn.k3, 1 - (-d).exp())):
        of_policy, of_reference = gradients(function, logprobs, ref_logprobs)
        close(of_policy, weights * slope)
        close(of_reference, -weights * slope)
    assert_gradients(fn.categorical_kl, numbers(2, 4), numbers(2, 4, seed=1))


def test_broadcast_of_a_reference() -> None:
    assert fn.k1(numbers(2, 3, 4), numbers(3, 4)).shape == (2, 3, 4)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_generalised_js_against_the_formula(beta: float) -> None:
    p_logits, q_logits = numbers(5, 4), numbers(5, 4, seed=1)
    p, q = p_logits.softmax(-1), q_logits.softmax(-1)
    m = beta * p + (1 - beta) * q
    expected = (beta * p * (p / m).log() + (1 - beta) * q * (q / m).log()).sum(-1)
    close(fn.generalised_js(p_logits, q_logits, beta), expected)
    close(fn.generalised_js(q_logits, p_logits, 1 - beta), expected)
    assert_gradients(lambda x, y: fn.generalised_js(x, y, beta), p_logits, q_logits)


def test_generalised_js_ends_at_the_two_kl_divergences() -> None:
    """Exactly at 0 and 1, and near them, divided by β or 1 − β."""
    p, q = numbers(5, 4), numbers(5, 4, seed=1)
    close(fn.generalised_js(p, q, 0.0), fn.categorical_kl(p, q))
    close(fn.generalised_js(p, q, 1.0), fn.categorical_kl(q, p))
    close(fn.generalised_js(p, q, 1e-7) / 1e-7, fn.categorical_kl(p, q), tolerance=1e-5)
    close(fn.generalised_js(p, q, 1 - 1e-7) / 1e-7, fn.categorical_kl(q, p), tolerance=1e-5)


def test_generalised_js_of_equal_and_of_disjoint_distributions() -> None:
    """0 with a gradient of 0; and at most the entropy of the mixing weight, log 2 at β = ½, however far they are."""
    x = numbers(5, 4).requires_grad_()
    for beta in (0.3, 0.5):
        found = fn.generalised_js(x.detach(), x, beta)
        assert (found == 0).all()
        assert (torch.autograd.grad(found.sum(), x)[0] == 0).all()
    one, other = f64([0.0, -math.inf]), f64([-math.inf, 0.0]).requires_grad_()
    far = fn.generalised_js(one, other, 0.5)
    close(far, math.log(2))
    close(fn.generalised_js(f64([1e3, -1e3]), f64([-1e3, 1e3]), 0.5), math.log(2))
    assert torch.autograd.grad(far, other)[0].isfinite().all()
