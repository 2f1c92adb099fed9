"""Iterates over a data set in batches; the order of rows is a pure function of seed and position.

Resuming needs no saved state: batch k of a seed is the same whether the walk started at 0 or at k.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch

B = TypeVar("B", covariant=True)


@runtime_checkable
class Batches(Protocol[B]):
    """A tokenised data set that returns batches."""

    def __len__(self) -> int: ...
    def batch(self, indices: list[int]) -> B: ...


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """Number of batches in an epoch; the last one may be smaller."""
    return math.ceil(rows / batch_size)


def walk(data: Batches[B], batch_size: int, seed: int, start: int = 0) -> Iterator[B]:
    """Endless batches, starting with batch number `start`; each epoch has a new order."""
    count = batches_per_epoch(len(data), batch_size)
    epoch, position = divmod(start, count)
    while True:
        order = epoch_order(len(data), seed, epoch)
        for k in range(position, count):
            yield data.batch(order[k * batch_size : (k + 1) * batch_size])
        epoch, position = epoch + 1, 0


def visited(rows: int, batch_size: int, seed: int, steps: int) -> list[int]:
    """The rows that the first `steps` batches of `walk` visit, in the data's order."""
    if steps >= batches_per_epoch(rows, batch_size):
        return list(range(rows))
    return sorted(epoch_order(rows, seed, 0)[: steps * batch_size])


def in_order(data: Batches[B], batch_size: int, rows: Sequence[int] | None = None) -> Iterator[B]:
    """Batches of every row once (or of `rows`), in the data's order."""
    rows = range(len(data)) if rows is None else rows
    for start in range(0, len(rows), batch_size):
        yield data.batch(list(rows[start : start + batch_size]))


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """The order of the rows in one epoch, a permutation."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator).tolist()
