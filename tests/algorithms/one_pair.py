"""A pair whose every number is written down, for methods whose loss is to be worked by hand.

The chosen response has two tokens of log-probabilities −1 and −2, the rejected one three of −3, −4 and −2, and the
reference gives −1 to all of them. So whole responses have −3 and −9, a token of theirs −1.5 and −3; the log-ratios are
−1 and −6, and a token's −½ and −2.
"""

import math
from typing import Any

import tiny
import torch
from phases import ready
from torch import Tensor

from burnish.batches import Preferences
from burnish.policies.interface import Models
from burnish.training.step import objective

CHOSEN, REJECTED = (-1.0, -2.0), (-3.0, -4.0, -2.0)


def softplus(x: float) -> float:
    """−log σ(−x)."""
    return math.log1p(math.exp(x))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def batch_of(margin: float | None = None, confidence: float | None = None) -> Preferences:
    short, long = ([0, 4, 5], [False, True, True]), ([0, 6, 7, 8], [False, True, True, True])
    batch = tiny.preferences([[short, long]])
    given = {"margins": margin, "confidences": confidence}
    told = {name: torch.tensor([value], dtype=torch.float64) for name, value in given.items() if value is not None}
    return Preferences(**{**vars(batch), **told})


def numbers() -> Tensor:
    """The log-probabilities, with junk where the mask is False."""
    junk = 1e30
    return torch.tensor([[[junk, *CHOSEN, math.nan], [junk, *REJECTED]]], dtype=torch.float64)


def loss_of(algorithm: Any, values: Tensor, **told: float) -> Tensor:
    """The loss as the step has it, as a function of the policy's log-probabilities."""
    reference = tiny.Table(torch.full(values.shape, -1.0, dtype=torch.float64))
    models, batch = Models(policy=tiny.Table(values), reference=reference), batch_of(**told)
    prepared = ready(algorithm, models, batch)
    return objective(algorithm.loss(models, prepared), prepared.counts())


def learned(algorithm: Any, **told: float) -> tuple[float, Tensor]:
    """The loss, and its slope in each token's log-probability: `[2, 3]`, the chosen response's third place empty."""
    values = numbers().requires_grad_()
    loss = loss_of(algorithm, values, **told)
    (slope,) = torch.autograd.grad(loss, values)
    assert not slope[0, :, 0].any()
    assert slope[0, 0, 3] == 0
    return loss.item(), slope[0, :, 1:]


def rewards_of(algorithm: Any) -> list[float]:
    """The rewards that the method tells of, chosen and rejected."""
    reference = tiny.Table(torch.full((1, 2, 4), -1.0, dtype=torch.float64))
    models = Models(policy=tiny.Table(numbers()), reference=reference)
    metrics = algorithm.loss(models, ready(algorithm, models, batch_of())).metrics
    assert metrics["logps/chosen"].item() == -3.0
    assert metrics["logps/rejected"].item() == -9.0
    assert metrics["rewards/margins"] == metrics["rewards/chosen"] - metrics["rewards/rejected"]
    assert metrics["rewards/accuracies"].item() == 1.0
    return [metrics["rewards/chosen"].item(), metrics["rewards/rejected"].item()]


def expected_slope(chosen: float, rejected: float) -> Tensor:
    """The slope where each token of a response has the same."""
    return torch.tensor([[chosen, chosen, 0.0], [rejected] * 3], dtype=torch.float64)


def same(found: Tensor, chosen: float, rejected: float) -> None:
    torch.testing.assert_close(found, expected_slope(chosen, rejected), rtol=1e-9, atol=1e-12)
