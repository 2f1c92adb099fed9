"""Derivatives taken by hand against those that autograd has of the networks made openly, a run at a time."""

from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from burnish.policies.control.networks import Activation, Networks, networks, outputs, pulled, pushed, split

RUNS, STEPS = 3, 5
SIZES = [(4, 3), (4, 6, 3), (4, 6, 5, 1), (2, 3, 4, 5, 2)]
BESIDE = 2


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(sizes: tuple[int, ...], beside: int) -> tuple[Tensor, Tensor]:
    """Weights of three runs, and what each of them observes."""
    count = sum(a * b + b for a, b in pairwise(sizes)) + beside
    return numbers(RUNS, count, seed=1), numbers(RUNS, STEPS, sizes[0], seed=2)


def by_loops(theta: Tensor, x: Tensor, sizes: tuple[int, ...], activation: str) -> Tensor:
    """One run's outputs for one observation, its weights taken off the row one layer after the other."""
    rest = theta
    for i, (inside, outside) in enumerate(pairwise(sizes)):
        weight, bias, rest = rest.split([inside * outside, outside, len(rest) - (inside + 1) * outside])
        if i == len(sizes) - 2:
            return weight.view(outside, inside) @ x + bias
        x = getattr(torch, activation)(x @ weight.view(inside, outside) + bias)
    raise AssertionError("a network has an output")


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("beside", [0, BESIDE])
@pytest.mark.parametrize("sizes", SIZES)
def test_networks_by_loops(sizes: tuple[int, ...], beside: int, activation: Any) -> None:
    theta, x = made(sizes, beside)
    out, rest = networks(theta, x, sizes, activation)
    expected = [
        torch.stack([by_loops(theta[r], x[r, t], sizes, activation) for t in range(STEPS)]) for r in range(RUNS)
    ]
    torch.testing.assert_close(out, torch.stack(expected))
    assert torch.equal(rest, theta[:, theta.shape[1] - beside :])


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("beside", [0, BESIDE])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_push_and_a_pull_are_with_the_whole_derivative(sizes: tuple[int, ...], beside: int, activation: Any) -> None:
    theta, x = made(sizes, beside)
    change, slope, beside_slope = (
        numbers(*shape, seed=seed)
        for seed, shape in ((3, theta.shape), (4, (RUNS, STEPS, sizes[-1])), (5, (RUNS, beside)))
    )
    given: list[Tensor] = []
    outputs(split(theta, sizes)[0], x, given, activation)
    kept = [each.clone() for each in given]
    out_change, beside_change = pushed(theta, given, change, sizes, activation)
    gradient = pulled(theta, given, slope, beside_slope, sizes, activation)
    for r in range(RUNS):

        def all_of(one: Tensor, r: int = r) -> Tensor:
            each = torch.stack([by_loops(one, x[r, t], sizes, activation) for t in range(STEPS)])
            return torch.cat([each.flatten(), one[len(one) - beside :]])

        derivative = torch.autograd.functional.jacobian(all_of, theta[r])
        told = torch.cat([out_change[r].flatten(), beside_change[r]])
        torch.testing.assert_close(told, derivative @ change[r], rtol=1e-10, atol=1e-10)
        back = torch.cat([slope[r].flatten(), beside_slope[r]]) @ derivative
        torch.testing.assert_close(gradient[r], back, rtol=1e-10, atol=1e-10)
    for each, before in zip(given, kept, strict=True):  # they serve for the next product too
        assert torch.equal(each, before)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_fast_gradient_is_that_of_autograd(activation: Any) -> None:
    """The second derivative too, which leaves the fast one for autograd."""
    theta, x = made((4, 6, 5, 1), BESIDE)
    slopes = []
    for make in (Networks.apply, networks):
        leaf = theta.clone().requires_grad_()
        out, beside = make(leaf, x, (4, 6, 5, 1), activation)
        (slope,) = torch.autograd.grad((out**2).sum() + beside.sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad((slope * theta).sum(), leaf)
        slopes.append((slope.detach(), second))
    for fast, plain in zip(*slopes, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
