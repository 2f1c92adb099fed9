"""Episodes small enough to work by hand, for models whose every number is written down."""

import dataclasses
import math
from typing import Any

import torch
from phases import ready, sampled
from torch import Tensor, nn

from burnish.batches import Episodes
from burnish.policies.interface import Models
from burnish.training.step import gradient

JUNK = (math.nan, math.inf, -math.inf, 1e30)


def f64(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Written:
    """A policy and a critic whose every number is a parameter, looked up by a batch's rows; runs come first."""

    def __init__(self, logprobs: Tensor, entropy: Tensor, values: Tensor) -> None:
        self.numbers = {"logprobs": logprobs, "entropy": entropy, "values": values}
        self.numbers = {name: nn.Parameter(x.clone()) for name, x in self.numbers.items()}

    def of(self, name: str, batch: Any) -> Tensor:
        return self.numbers[name][..., batch.rows, :]

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.of("logprobs", batch), self.of("entropy", batch)

    def values(self, batch: Any) -> Tensor:
        return self.of("values", batch)

    def logprobs(self, batch: Any) -> Tensor:
        return self.logprobs_and_entropy(batch)[0]

    def parameters(self) -> dict[str, nn.Parameter]:
        return self.numbers  # type: ignore[return-value]

    def dropout(self, on: bool) -> None:
        """There is none."""

    def gradients(self) -> dict[str, Tensor]:
        return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in self.numbers.items()}


def models_of(written: Written) -> Models:
    return Models(policy=written, critic=written)


MASK = torch.tensor([[False, True, True], [False, True, False]])
OLD_LOGPROBS = f64([[0, 0.5, 0.5], [0, 0.5, 1]]).log().nan_to_num(neginf=0.0)
OLD_VALUES = f64([[0, 0.5, 1, 0], [0, 2, 0, 0]])


def two_rows() -> Episodes:
    """A row of two steps, rewarded 0 and 2, and one of a single step, rewarded 1; both terminate, γ = 1."""
    return sampled(
        tokens=torch.zeros(2, 3, dtype=torch.long),
        mask=MASK,
        lengths=torch.tensor([3, 2]),
        rows=torch.arange(2),
        old_logprobs=OLD_LOGPROBS,
        rewards=f64([[0, 0, 2], [0, 1, 0]]),
        discounts=f64([[0, 1, 0], [0, 0, 0]]),
    )


def before() -> Written:
    return Written(OLD_LOGPROBS, torch.zeros_like(OLD_LOGPROBS), OLD_VALUES)


def after() -> Written:
    """The ratios are 1.6 and 0.5, and 1.5; the values were 0.5 and 1, and 2."""
    logprobs = f64([[1, 0.8, 0.25], [1, 0.75, 1]]).log()
    return Written(logprobs, f64([[9, 0.3, 0.6], [9, 0.9, 9]]), f64([[9, 0.9, 1.1, 9], [9, 2.5, 9, 9]]))


def learned(
    algorithm: Any, old: Written | None = None, new: Written | None = None, pieces: int = 1, batch: Any = None
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Loss, metrics and gradients of the step on `two_rows`, after policy and critic have moved from old to new."""
    old, new = old or before(), new or after()
    prepared = ready(algorithm, models_of(old), batch or two_rows())
    return gradient(algorithm, models_of(new), prepared, pieces), new.gradients()


def beside_junk(algorithm: Any, junk: float) -> tuple[dict[str, float], dict[str, Tensor]]:
    """`learned`, with junk at every masked place of what the models say and of what the episodes hold."""
    old, new, batch = before(), after(), two_rows()
    for written in (old, new):
        for name, p in written.numbers.items():
            mask = MASK if name != "values" else nn.functional.pad(MASK, (0, 1))
            p.data = torch.where(mask, p.data, junk)
    names = ("old_logprobs", "rewards", "discounts")
    junky = {name: torch.where(MASK, getattr(batch, name), junk) for name in names}
    return learned(algorithm, old, new, batch=dataclasses.replace(batch, **junky))


def assert_same(found: tuple[dict[str, float], dict[str, Tensor]], other: tuple[dict, dict[str, Tensor]]) -> None:
    """To rounding, since sums may have been taken in another order."""
    assert found[0].keys() == other[0].keys()
    for name, value in found[0].items():
        assert abs(value - other[0][name]) < 1e-12, name
    for name, slope in found[1].items():
        torch.testing.assert_close(slope, other[1][name], rtol=1e-12, atol=1e-12)
