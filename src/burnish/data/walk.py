"""Iterates over a data set in batches; the order of rows is a pure function of seed and position.

Resuming needs no saved state: batch k of a seed is the same whether the walk started at 0 or at k.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from burnish.run import UserError

B = TypeVar("B", covariant=True)


class ReadError(UserError):
    """A row in the middle of a stream cannot be read."""


@runtime_checkable
class Batches(Protocol[B]):
    """A tokenised data set that returns batches."""

    def __len__(self) -> int: ...
    def batch(self, indices: list[int]) -> B: ...
    @property
    def plan(self) -> "Plan": ...


@dataclass(frozen=True)
class Plan:
    """Which rows an epoch has, and in which order.

    `sizes` are the numbers of rows of the data set's parts, which lie one after the other. Without `weights` an epoch
    has every row once, in random order.

    With weights w, an epoch ends when the part that is exhausted first has been used whole: with T = minₚ nₚ/wₚ it has
    kₚ = round(wₚT) rows of part p, at least one. The parts are interleaved evenly: row j of part p stands at
    (j + ½)/wₚ, so that any stretch of an epoch has the given proportions, within a row or two. The rows of a part come
    in random order, and its next kₚ rows in the next epoch, so that none is repeated before all were used.

    With the `lengths` of all rows, batches of `batch_size` have rows of about the same length, see `longest_first`.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...] = ()
    lengths: tuple[int, ...] = ()
    batch_size: int = 1

    def __len__(self) -> int:
        """The rows of an epoch."""
        return sum(self.shares)

    @property
    def shares(self) -> tuple[int, ...]:
        """The rows of each part in an epoch."""
        if not self.weights:
            return self.sizes
        length = min(size / weight for size, weight in zip(self.sizes, self.weights, strict=True))
        return tuple(
            min(size, max(1, math.floor(weight * length + 0.5)))
            for size, weight in zip(self.sizes, self.weights, strict=True)
        )

    def order(self, seed: int, epoch: int) -> list[int]:
        """The rows of one epoch, in order."""
        rows = self.interleaved(seed, epoch) if self.weights else epoch_order(sum(self.sizes), seed, epoch)
        return longest_first(rows, self.lengths, self.batch_size) if self.lengths else rows

    def interleaved(self, seed: int, epoch: int) -> list[int]:
        """The rows of one epoch of weighted parts."""
        places, rows = [], []
        starts = accumulate(self.sizes, initial=0)
        for part, (start, size, share) in enumerate(zip(starts, self.sizes, self.shares, strict=False)):
            places.append((np.arange(share) + 0.5) / self.weights[part])
            first, offset = divmod(epoch * share, size)
            orders = [np.random.default_rng((seed, part, first + more)).permutation(size) for more in (0, 1)]
            rows.append(start + np.concatenate(orders)[offset : offset + share])
        return np.concatenate(rows)[np.argsort(np.concatenate(places), kind="stable")].tolist()


MEGABATCH = 50
"""The most batches among whose rows those of about the same length are put together."""


def longest_first(order: list[int], lengths: Sequence[int], batch_size: int) -> list[int]:
    """The rows in stretches of at most 50 batches, a quarter of them at most, each stretch sorted from long to short.

    The longest row of all comes first, so that memory runs out at once or never. As transformers'
    `get_length_grouped_indices` does it.
    """
    size = batch_size * max(1, min(len(order) // (4 * batch_size), MEGABATCH))
    stretches = [
        sorted(order[start : start + size], key=lambda row: -lengths[row]) for start in range(0, len(order), size)
    ]
    longest = max(stretches, key=lambda rows: lengths[rows[0]])
    stretches[0][0], longest[0] = longest[0], stretches[0][0]
    return [row for stretch in stretches for row in stretch]


def next_rows(plan: Plan, seed: int, first: int, count: int) -> list[int]:
    """`count` rows of the endless walk through epochs, from its place `first` on."""
    found: list[int] = []
    while len(found) < count:
        epoch, place = divmod(first + len(found), len(plan))
        found += plan.order(seed, epoch)[place : place + count - len(found)]
    return found


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """Number of batches in an epoch; the last one may be smaller."""
    return math.ceil(rows / batch_size)


def walk(data: Batches[B], batch_size: int, seed: int, start: int = 0) -> Iterator[B]:
    """Endless batches, starting with batch number `start`; each epoch has a new order."""
    count = batches_per_epoch(len(data.plan), batch_size)
    epoch, position = divmod(start, count)
    while True:
        order = data.plan.order(seed, epoch)
        for k in range(position, count):
            yield data.batch(order[k * batch_size : (k + 1) * batch_size])
        epoch, position = epoch + 1, 0


def visited(plan: Plan, batch_size: int, seed: int, steps: int) -> list[int]:
    """The rows that the first `steps` batches of `walk` visit, in the data's order."""
    epochs, rest = divmod(steps, batches_per_epoch(len(plan), batch_size))
    seen: set[int] = set()
    for epoch in range(epochs + 1):
        if len(seen) == sum(plan.sizes):
            break
        order = plan.order(seed, epoch)
        seen.update(order if epoch < epochs else order[: rest * batch_size])
    return sorted(seen)


def in_order(data: Batches[B], batch_size: int, rows: Sequence[int] | None = None) -> Iterator[B]:
    """Batches of every row once (or of `rows`), in the data's order."""
    rows = range(len(data)) if rows is None else rows
    for start in range(0, len(rows), batch_size):
        yield data.batch(list(rows[start : start + batch_size]))


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """The order of the rows in one epoch, a permutation."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator).tolist()
