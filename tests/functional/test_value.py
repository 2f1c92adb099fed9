"""Critic losses: by hand on both sides of the clip range; explained variance of known critics."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn

from .helpers import JUNK, assert_gradients, close, coins, f64, gradients, numbers


def test_value_loss_by_hand() -> None:
    """½ (3 − 5)² = 2, with slope 3 − 5 = −2."""
    values = f64([3.0]).requires_grad_()
    loss = fn.value_loss(values, f64([5.0]))
    close(loss, [2.0])
    close(torch.autograd.grad(loss, values)[0], [-2.0])


# value, return, loss, slope; the old value is 0 and clip = 1
CASES = [
    (0.5, 2.0, 1.125, -1.5),  # within reach: ½ · 1.5²
    (3.0, 2.0, 0.5, 1.0),  # held at 1: both err by 1
    (4.0, 2.0, 2.0, 2.0),  # held at 1 errs by 1, the value itself by 2
    (3.0, 4.0, 4.5, 0.0),  # held at 1 errs by 3, the value by 1: no reward for going further
    (-3.0, -4.0, 4.5, 0.0),  # the same on the other side
    (-3.0, 4.0, 24.5, -7.0),  # held at −1 errs by 5, the value by 7
]


@pytest.mark.parametrize(("value", "target", "expected", "slope"), CASES)
def test_clipped_value_loss_by_hand(value: float, target: float, expected: float, slope: float) -> None:
    values = f64([value]).requires_grad_()
    loss = fn.clipped_value_loss(values, f64([0.0]), f64([target]), clip=1)
    close(loss, [expected])
    if (value, target) != (3.0, 2.0):  # where two different branches tie there is no one slope
        close(torch.autograd.grad(loss, values)[0], [slope])


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 2))
def test_clipped_value_loss_against_the_formula(value: float, old: float, target: float, clip: float) -> None:
    held = old + min(max(value - old, -clip), clip)
    expected = max((value - target) ** 2, (held - target) ** 2) / 2
    close(fn.clipped_value_loss(f64([value]), f64([old]), f64([target]), clip), [expected])


def test_unmoved_values_have_the_plain_loss_and_gradient() -> None:
    values, returns = numbers(6), numbers(6, seed=1)
    close(fn.clipped_value_loss(values, values, returns, 0.2), fn.value_loss(values, returns))
    clipped = gradients(lambda x: fn.clipped_value_loss(x, values, returns, 0.2), values)[0]
    close(clipped, gradients(lambda x: fn.value_loss(x, returns), values)[0])


def test_gradients_against_finite_differences() -> None:
    values, old_values, returns = numbers(20), numbers(20, seed=1), numbers(20, seed=2)
    assert_gradients(fn.value_loss, values, returns)
    assert_gradients(lambda v, o, r: fn.clipped_value_loss(v, o, r, 0.5), values, old_values, returns)
    assert_gradients(lambda v, c: fn.clipped_value_loss(v, old_values, returns, c), values, f64(0.5))


def test_explained_variance_by_hand() -> None:
    """Real returns 0, 2, 4 vary by 8/3. Values 0, 1, 2 leave 0, 1, 2, which varies by 2/3: a quarter. 1 − ¼ = ¾."""
    mask = torch.tensor([[True, True], [True, False]])
    returns, values = f64([[0.0, 2.0], [4.0, 99.0]]), f64([[0.0, 1.0], [2.0, -5.0]])
    close(fn.explained_variance(values, returns, mask), 0.75)
    close(fn.explained_variance(returns + 7, returns, mask), 1.0)
    close(fn.explained_variance(torch.full_like(returns, 3.0), returns, mask), 0.0)
    close(fn.explained_variance(-returns, returns, mask), -3.0)


def test_explained_variance_per_run() -> None:
    returns, mask = numbers(3, 4, 5), coins(3, 4, 5)
    values = returns * f64([1.0, 0.5, 0.0])[:, None, None]
    close(fn.explained_variance(values, returns, mask), [1.0, 0.75, 0.0])


def test_returns_without_variance_give_zero() -> None:
    """Three times 0.1 has no variance, whatever the rounding of its mean; neither has a fully masked batch."""
    returns, values = torch.full((1, 3), 0.1, dtype=torch.float64), numbers(1, 3)
    assert fn.explained_variance(values, returns, torch.ones(1, 3, dtype=torch.bool)).item() == 0.0
    assert fn.explained_variance(values, returns, torch.zeros(1, 3, dtype=torch.bool)).item() == 0.0


@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places(junk: float) -> None:
    values, returns, mask = numbers(3, 4), numbers(3, 4, seed=1), coins(3, 4)
    expected = fn.explained_variance(values, returns, mask)
    dirty = (torch.where(mask, values, junk), torch.where(mask, returns, junk))
    assert torch.equal(fn.explained_variance(*dirty, mask), expected)
    for slope in gradients(lambda v, r: fn.explained_variance(v, r, mask), *dirty):
        assert slope.isfinite().all()
        assert (slope[~mask] == 0).all()
