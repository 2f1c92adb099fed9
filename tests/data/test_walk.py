"""The order of rows: a pure function of seed and position."""

from itertools import islice

import pytest

from burnish.data.walk import batches_per_epoch, epoch_order, in_order, visited, walk


class Numbers:
    """A data set of the numbers 0 … rows − 1."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def batch(self, indices: list[int]) -> list[int]:
        return list(indices)


@pytest.mark.parametrize(("rows", "size", "count"), [(10, 5, 2), (11, 5, 3), (3, 5, 1), (1, 1, 1), (10, 1, 10)])
def test_an_epoch_has_every_row_once(rows: int, size: int, count: int) -> None:
    assert batches_per_epoch(rows, size) == count
    epoch = list(islice(walk(Numbers(rows), size, seed=3), count))
    assert sorted(row for batch in epoch for row in batch) == list(range(rows))
    assert [len(batch) for batch in epoch[:-1]] == [size] * (count - 1)
    assert len(epoch[-1]) == (rows - 1) % size + 1


@pytest.mark.parametrize("start", range(9))
def test_a_walk_that_starts_in_the_middle_is_the_same(start: int) -> None:
    whole = list(islice(walk(Numbers(11), 4, seed=5), 12))
    assert list(islice(walk(Numbers(11), 4, seed=5, start=start), 12 - start)) == whole[start:]


def test_seeds_and_epochs_have_different_orders() -> None:
    orders = {tuple(epoch_order(30, seed, epoch)) for seed in range(6) for epoch in range(6)}
    assert len(orders) == 36
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert epoch_order(30, 2, 4) == epoch_order(30, 2, 4)


def test_first_rows_are_spread_over_seeds() -> None:
    """Over 400 seeds each of 4 rows comes first about 100 times; 5 standard deviations are 43."""
    first = [epoch_order(4, seed, 0)[0] for seed in range(400)]
    assert all(abs(first.count(row) - 100) < 43 for row in range(4))


@pytest.mark.parametrize(("rows", "size"), [(7, 3), (6, 3), (2, 5)])
def test_in_order_gives_every_row_once_in_the_datas_order(rows: int, size: int) -> None:
    batches = list(in_order(Numbers(rows), size))
    assert [row for batch in batches for row in batch] == list(range(rows))
    assert all(len(batch) == size for batch in batches[:-1])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_the_rows_that_a_short_walk_visits(steps: int) -> None:
    seen = {row for batch in islice(walk(Numbers(11), 4, seed=5), steps) for row in batch}
    assert visited(11, 4, seed=5, steps=steps) == sorted(seen)


def test_some_rows_in_order() -> None:
    assert list(in_order(Numbers(9), 2, rows=[1, 4, 8])) == [[1, 4], [8]]
