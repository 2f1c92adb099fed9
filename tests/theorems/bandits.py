"""Bandits small enough to enumerate: an expectation is a sum over all actions, and nothing is sampled."""

from collections.abc import Callable

import torch
from torch import Tensor

import burnish.functional as fn


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual.detach(), expected.detach(), rtol=tolerance, atol=tolerance)


def all_logprobs(logits: Tensor) -> Tensor:
    """Log-probability of every action, by the function that a policy would use: [..., A] → [..., A]."""
    actions = torch.arange(logits.shape[-1])
    return fn.action_logprobs(logits[..., None, :], actions)


def expected_gradient(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """Σ_a π(a) ∇ loss(a), with the probabilities held: the mean of what samples give. loss takes and gives [A]."""
    leaf = logits.detach().clone().requires_grad_()
    weights = logits.detach().softmax(-1)
    return torch.autograd.grad((weights * loss(all_logprobs(leaf))).sum(), leaf)[0]


def true_gradient(objective: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """∇ of an objective of the probabilities themselves, by automatic differentiation of the softmax."""
    leaf = logits.detach().clone().requires_grad_()
    return torch.autograd.grad(objective(leaf.softmax(-1)), leaf)[0]
