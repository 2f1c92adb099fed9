"""Losses anchored to the reference: values by hand, gradients by formula, finite at ±1,000."""

import math
from functools import partial

import pytest
import torch

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers

LOG3 = math.log(3)  # σ(log 3) = ¾, σ(−log 3) = ¼

LOSSES = {
    "apo_zero": partial(fn.apo_zero, beta=1.0),
    "apo_down": partial(fn.apo_down, beta=1.0),
    "nca_pair": partial(fn.nca_pair, beta=1.0),
    "sppo": partial(fn.sppo, beta=0.1),
    "sppo, soft": partial(fn.sppo, beta=0.1, confidence=0.7),
}


def test_by_hand() -> None:
    """Log-ratios 2 log 3 and −2 log 3, β = ½: rewards log 3 and −log 3.

    APO-zero, eq. 7 and 1: (1 − ¾) + ¼ = ½. APO-down, eq. 8 and 1: σ(log 3) + 1 − σ(2 log 3) = ¾ + 1 − 9/10.
    NCA: −log ¾ − ½ log ¼ − ½ log ¾. SPPO, eq. 4.7 with P = 1 and 0: aims ±½/½ = ±1, 2 (2 log 3 − 1)²."""
    chosen, rejected = f64([2 * LOG3]), f64([-2 * LOG3])
    close(fn.apo_zero(chosen, rejected, 0.5), [0.5])
    close(fn.apo_down(chosen, rejected, 0.5), [0.85])
    close(fn.nca_pair(chosen, rejected, 0.5), [-1.5 * math.log(0.75) - 0.5 * math.log(0.25)])
    close(fn.sppo(chosen, rejected, 0.5), [2 * (2 * LOG3 - 1) ** 2])
    close(fn.sppo(chosen, rejected, 0.5, 0.75), [2 * (2 * LOG3 - 0.5) ** 2])


def test_chosen_and_rejected_are_not_interchangeable() -> None:
    """Log-ratios log 3 and 0, β = 1: APO-zero ¼ + ½; APO-down ¾ + ¼; NCA −log ¾ − ½ log ¼ − ½ log ½; SPPO with β = ½
    and p = ¾ has targets ±½. Then with chosen and rejected swapped."""
    up, zero = f64([LOG3]), f64([0.0])
    close(fn.apo_zero(up, zero, 1.0), [0.75])
    close(fn.apo_zero(zero, up, 1.0), [1.25])
    close(fn.apo_down(up, zero, 1.0), [1.0])
    close(fn.apo_down(zero, up, 1.0), [0.5 + 0.75])
    close(fn.nca_pair(up, zero, 1.0), [-math.log(0.75) - 0.5 * math.log(0.25) - 0.5 * math.log(0.5)])
    close(fn.nca_pair(zero, up, 1.0), [-1.5 * math.log(0.5) - 0.5 * math.log(0.25)])
    close(fn.sppo(up, zero, 0.5, 0.75), [(LOG3 - 0.5) ** 2 + 0.25])
    close(fn.sppo(zero, up, 0.5, 0.75), [0.25 + (LOG3 + 0.5) ** 2])


def test_at_the_reference() -> None:
    """½ + ½, ½ + ½, 2 log 2, and 2 (½/β)² = 50 for β = 0.1; with confidence ½ SPPO is 0."""
    zero = f64([0.0])
    for name, value in {"apo_zero": 1.0, "apo_down": 1.0, "nca_pair": 2 * math.log(2), "sppo": 50.0}.items():
        close(LOSSES[name](zero, zero), [value])
    close(fn.sppo(zero, zero, 0.1, 0.5), [0.0])


def test_slopes_at_the_reference() -> None:
    """In units of β: APO-zero −¼ and ¼; APO-down ¼ − ¼ and ¼; NCA −½ + ¼ and ¼; SPPO ∓2·½/β = ∓10 for β = 0.1."""
    zero = f64([0.0])
    expected = {"apo_zero": (-0.25, 0.25), "apo_down": (0.0, 0.25), "nca_pair": (-0.25, 0.25), "sppo": (-10.0, 10.0)}
    for name, slopes in expected.items():
        leaves = [zero.clone().requires_grad_() for _ in range(2)]
        for found, slope in zip(torch.autograd.grad(LOSSES[name](*leaves), leaves), slopes, strict=True):
            close(found, [slope])


def test_direction_of_the_chosen_response() -> None:
    """APO-down lowers it where the rejected one is already far below; APO-zero raises it; NCA moves it to log 2/β."""
    chosen = f64([-2.0, 0.0, math.log(2), 2.0]).requires_grad_()
    far_below = torch.full_like(chosen, -30.0).detach()
    assert (torch.autograd.grad(fn.apo_down(chosen, far_below, 1.0).sum(), chosen)[0] > 0).all()
    assert (torch.autograd.grad(fn.apo_zero(chosen, far_below, 1.0).sum(), chosen)[0] < 0).all()
    slopes = torch.autograd.grad(fn.nca_pair(chosen, far_below, 1.0).sum(), chosen)[0]
    assert (slopes[:2] < 0).all()
    assert slopes[2].abs() < 1e-12
    assert slopes[3] > 0


def test_numbers_per_pair() -> None:
    close(fn.apo_zero(f64([LOG3, 2 * LOG3]), f64([0.0, 0.0]), f64([1.0, 0.5])), [0.75, 0.75])
    close(fn.sppo(f64([1.0, 0.0]), f64([-1.0, 0.0]), 0.5, f64([1.0, 0.5])), [0.0, 0.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_finite_at_a_thousand(name: str, dtype: torch.dtype) -> None:
    for chosen, rejected in [(1000.0, -1000.0), (-1000.0, 1000.0), (1000.0, 1000.0), (-1000.0, -1000.0)]:
        inputs = torch.tensor([chosen], dtype=dtype), torch.tensor([rejected], dtype=dtype)
        assert LOSSES[name](*inputs).isfinite().all()
        assert all(slope.isfinite().all() for slope in gradients(LOSSES[name], *inputs))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name: str) -> None:
    assert_gradients(LOSSES[name], numbers(8), numbers(8, seed=1))


def test_half_precision_is_widened() -> None:
    """256.5 rounds to 256 in bfloat16; the result for 256 is computed in float32."""
    for loss in LOSSES.values():
        assert loss(torch.tensor([2.0]).bfloat16(), torch.tensor([1.0]).bfloat16()).dtype == torch.float32
