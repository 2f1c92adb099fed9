"""Policy objectives: by hand on both sides of the clip range, gradients by formula, and ratios that overflow."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers


def test_by_hand() -> None:
    """log π = log ½, log π_old = log ¼, A = 3: −3 log ½, and a ratio of 2 gives −6."""
    logprobs, old_logprobs, advantages = f64([math.log(0.5)]), f64([math.log(0.25)]), f64([3.0])
    close(fn.policy_gradient(logprobs, advantages), [3 * math.log(2)])
    close(fn.surrogate(logprobs, old_logprobs, advantages), [-6.0])


# ratio, advantage, objective to maximise, its slope in log π (0 where the clip holds)
CASES = [
    (1.0, 2.0, 2.0, 2.0),
    (1.1, 2.0, 2.2, 2.2),
    (1.5, 2.0, 2.6, 0.0),  # above the range with a positive advantage: 1.3 · 2
    (1.5, -2.0, -3.0, -3.0),  # above with a negative one: it must be able to come back
    (0.5, -2.0, -1.8, 0.0),  # below the range with a negative advantage: 0.9 · −2
    (0.5, 2.0, 1.0, 1.0),  # below with a positive one
    (1.5, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "objective", "slope"), CASES)
def test_clip_by_hand(ratio: float, advantage: float, objective: float, slope: float) -> None:
    """clip_low = 0.1, clip_high = 0.3: the range is 0.9 … 1.3, and its two ends differ."""
    logprobs = f64([math.log(ratio)]).requires_grad_()
    loss = fn.clipped_surrogate(logprobs, f64([0.0]), f64([advantage]), 0.1, 0.3)
    close(loss, [-objective])
    close(torch.autograd.grad(loss, logprobs)[0], [-slope])


def test_clip_defaults_to_a_fifth_on_both_sides() -> None:
    logprobs = f64([math.log(3.0), math.log(0.3)])
    close(fn.clipped_surrogate(logprobs, f64([0.0, 0.0]), f64([1.0, -1.0])), [-1.2, 0.8])


def test_clip_of_zero_still_has_the_first_gradient() -> None:
    """At ratio 1 there is a gradient in either direction, even if the range is a single point."""
    logprobs, advantages = numbers(5), numbers(5, seed=1)
    function = gradients(lambda x: fn.clipped_surrogate(x, logprobs, advantages, 0.0, 0), logprobs)[0]
    close(function, -advantages * numbers(5, seed=99))


def test_clip_as_tensors() -> None:
    """One range per run: 1.5 clipped to 1.1 and to 1.4."""
    logprobs = torch.full((2, 1), math.log(1.5), dtype=torch.float64)
    clip = f64([[0.1], [0.4]])
    close(fn.clipped_surrogate(logprobs, torch.zeros(1), f64([1.0]), clip, clip), [[-1.1], [-1.4]])


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 0.9), st.floats(0, 0.9))
def test_clip_against_the_formula(log_ratio: float, advantage: float, low: float, high: float) -> None:
    ratio = math.exp(log_ratio)
    expected = -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
    close(fn.clipped_surrogate(f64([log_ratio]), f64([0.0]), f64([advantage]), low, high), [expected], 1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_clipped_ratio_may_overflow(dtype: torch.dtype) -> None:
    logprobs = torch.tensor([1000.0, -1000.0], dtype=dtype, requires_grad=True)
    loss = fn.clipped_surrogate(logprobs, torch.zeros(2, dtype=dtype), torch.tensor([1.0, -1.0], dtype=dtype))
    close(loss, torch.tensor([-1.2, 0.8], dtype=dtype))
    assert torch.autograd.grad(loss.sum(), logprobs)[0].tolist() == [0.0, 0.0]


def test_one_advantage_per_sequence_broadcasts() -> None:
    logprobs, old_logprobs, advantages = numbers(2, 3, 4), numbers(2, 3, 4, seed=1), numbers(2, 3, 1, seed=2)
    wide = advantages.expand(2, 3, 4)
    assert torch.equal(fn.policy_gradient(logprobs, advantages), fn.policy_gradient(logprobs, wide))
    for function in (fn.surrogate, fn.clipped_surrogate):
        assert torch.equal(function(logprobs, old_logprobs, advantages), function(logprobs, old_logprobs, wide))


def test_gradients_against_finite_differences() -> None:
    logprobs, old_logprobs, advantages = numbers(20), numbers(20, seed=1), numbers(20, seed=2)
    assert_gradients(fn.policy_gradient, logprobs, advantages)
    assert_gradients(fn.surrogate, logprobs, old_logprobs, advantages)
    assert_gradients(fn.clipped_surrogate, logprobs, old_logprobs, advantages)


def test_dual_clip_by_hand() -> None:
    """Ratios 4 and 2 with A = −1 and c = 3: 3 without a gradient, and 2 with one; A = 1 is not limited by c."""
    logs = f64([4.0, 2.0, 4.0]).log()
    advantages = f64([-1.0, -1.0, 1.0])
    old = torch.zeros(3, dtype=torch.float64)
    function = lambda x: fn.clipped_surrogate(x, old, advantages, 0.2, math.inf, dual_clip=3.0)  # noqa: E731
    close(function(logs), [3.0, 2.0, -4.0])
    leaf = logs.clone().requires_grad_()
    close(torch.autograd.grad(function(leaf).sum(), leaf)[0], [0.0, 2.0, -4.0])


def test_clipped_weight_by_hand() -> None:
    """−w A log π with w = 2 held at 1.2, 1 and ½ held at 0.8, or without a lower limit ½: the slope is −w A."""
    logs, old = f64([-1.0, -2.0, -3.0]), f64([-1.0, -2.0, -3.0]) - f64([2.0, 1.0, 0.5]).log()
    advantages = f64([1.0, 2.0, -1.0])
    leaf = logs.clone().requires_grad_()
    found = fn.clipped_weight(leaf, old, advantages, 0.2, 0.2)
    close(found, [1.2, 4.0, -2.4])
    close(torch.autograd.grad(found.sum(), leaf)[0], [-1.2, -2.0, 0.8])
    close(fn.clipped_weight(logs, old, advantages, math.inf, 0.2), [1.2, 4.0, -1.5])


def test_sequence_log_ratio_by_hand() -> None:
    """½ and 1 in one row, nothing in the other: 3/2, and ¾ as a mean; masked places do not matter."""
    mask = torch.tensor([[True, False, True], [False, False, False]])
    logs, old = f64([[0.5, math.nan, 2.0], [1.0, 1.0, 1.0]]), f64([[0.0, 1.0, 1.0], [0.0, 0.0, math.inf]])
    close(fn.sequence_log_ratio(logs, old, mask, mean=False), [1.5, 0.0])
    close(fn.sequence_log_ratio(logs, old, mask, mean=True), [0.75, 0.0])
