"""What an algorithm's `loss` returns: numbers that nobody has averaged yet."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One term of an objective, before any mean.

    `losses` and `mask` are `[..., B, T]` (`over` "token" or "sequence") or `[..., B]` ("row"), as
    `burnish.functional.aggregate` takes them. The step divides by the count of the *whole* batch, so micro-batches
    and padding cannot change a loss; the mask must therefore be the batch's own mask, or its rows that have one.
    `weight` is a number, or a tensor of one for each of the leading dimensions.
    """

    losses: Tensor
    mask: Tensor
    over: str = "token"
    weight: float | Tensor = 1.0


@dataclass(frozen=True)
class Loss:
    """The terms to minimise by name, and numbers to report: means over the rows that count of what is a number a row,
    and means over real tokens of what is shaped like the mask."""

    terms: dict[str, Term]
    metrics: dict[str, Tensor] = field(default_factory=dict)
