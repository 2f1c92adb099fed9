"""Shared test helpers: comparison up to rounding, seeded numbers, and the gradient of a weighted sum."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

JUNK = (float("nan"), float("inf"), -float("inf"), 1e30)


def close(actual: Tensor, expected: Tensor | float | Sequence, tolerance: float = 1e-12) -> None:
    """The same numbers in the same shape, up to rounding."""
    if not isinstance(expected, Tensor):
        expected = torch.tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual.detach(), expected.detach(), rtol=tolerance, atol=tolerance, check_dtype=False)


def f64(values: Sequence | float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def coins(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of Σ wᵢ fᵢ with fixed unequal weights, so that errors in different outputs cannot cancel."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    output = function(*leaves)
    weights = numbers(*output.shape, seed=99).to(output.dtype)
    return torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True, materialize_grads=True)


def assert_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Automatic gradients agree with finite differences."""
    assert torch.autograd.gradcheck(function, [x.detach().clone().requires_grad_() for x in inputs], atol=1e-7)
