"""What an algorithm's `loss` returns: losses per token or row, before any mean, and metrics."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One term of an objective, before any mean.

    `losses` and `mask` are `[..., B, T]` (`over` "token", "sequence" or "constant") or `[..., B]` ("row"), as
    `burnish.functional.aggregate` takes them. The step divides by a count of the *whole* batch, so micro-batches and
    padding cannot change a loss: the count named `total` in `batch.counts()`, by default the one named like `over`. The
    mask must be True at exactly the places that this count counts. `weight` is a number, or a tensor with one number
    per leading dimension.
    """

    losses: Tensor
    mask: Tensor
    over: str = "token"
    weight: float | Tensor = 1.0
    total: str | None = None


@dataclass(frozen=True)
class Loss:
    """The terms to minimise by name, and metrics: a tensor of one number per row is averaged over the rows that count,
    a tensor shaped like the mask over real tokens. A metric over other places is a `Term`."""

    terms: dict[str, Term]
    metrics: dict[str, Any] = field(default_factory=dict)
