"""The order of rows: a pure function of seed and position."""

import itertools
from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from transformers.trainer_pt_utils import get_length_grouped_indices

from burnish.data.walk import Plan, batches_per_epoch, epoch_order, in_order, next_rows, visited, walk


class Numbers:
    """A data set of the numbers 0 … rows − 1."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def batch(self, indices: list[int]) -> list[int]:
        return list(indices)

    @property
    def plan(self) -> Plan:
        return Plan((self.rows,))


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
    assert visited(Plan((11,)), 4, seed=5, steps=steps) == sorted(seen)


def test_some_rows_in_order() -> None:
    assert list(in_order(Numbers(9), 2, rows=[1, 4, 8])) == [[1, 4], [8]]


# Mixtures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "weights", "shares"),
    [
        ((4, 6), (), (4, 6)),  # concatenated: all rows
        ((10, 20), (0.7, 0.3), (10, 4)),  # T = 10/0.7 = 14.29: 10 and 4.29 rows
        ((10, 20), (7.0, 3.0), (10, 4)),
        ((9, 3), (0.5, 0.5), (3, 3)),
        ((100, 10, 100), (0.5, 0.25, 0.25), (20, 10, 10)),
        ((4, 2), (0.99, 0.01), (4, 1)),  # 0.04 rows: at least one
        ((1, 1), (0.2, 0.8), (1, 1)),  # T = 1.25: 0.25 rows, but at least one
    ],
)
def test_an_epoch_of_a_mixture_ends_where_a_part_was_used_whole(
    sizes: tuple[int, ...], weights: tuple[float, ...], shares: tuple[int, ...]
) -> None:
    plan = Plan(sizes, weights)
    assert plan.shares == shares
    assert len(plan) == sum(shares)
    starts = [sum(sizes[:p]) for p in range(len(sizes))]
    for epoch in range(3):
        order = plan.order(3, epoch)
        assert len(order) == len(set(order)) == sum(shares)
        assert tuple(sum(s <= row < s + n for row in order) for s, n in zip(starts, sizes, strict=True)) == shares


@pytest.mark.parametrize(("sizes", "weights"), [((70, 80), (0.7, 0.3)), ((50, 90, 90), (0.2, 0.5, 0.3))])
def test_every_stretch_of_an_epoch_has_the_given_proportions(
    sizes: tuple[int, ...], weights: tuple[float, ...]
) -> None:
    order = Plan(sizes, weights).order(0, 0)
    part = [sum(row >= sum(sizes[: p + 1]) for p in range(len(sizes))) for row in order]
    for start in range(0, len(part) - 10):
        for end in (start + 10, len(part)):
            counts = [part[start:end].count(p) for p in range(len(sizes))]
            assert all(abs(n - w * (end - start)) <= 2 for n, w in zip(counts, weights, strict=True))


def test_no_row_of_a_part_is_repeated_before_all_were_used() -> None:
    """The larger part has 11 rows and gives 4 to an epoch: the first 11 of 12 are all of them."""
    plan = Plan((4, 11), (0.5, 0.5))
    drawn = [row for epoch in range(3) for row in plan.order(5, epoch)]
    larger = [row for row in drawn if row >= 4]
    assert sorted(larger[:11]) == list(range(4, 15))
    assert all(sorted(row for row in plan.order(5, epoch) if row < 4) == [0, 1, 2, 3] for epoch in range(3))


def test_parts_of_one_size_are_not_in_step() -> None:
    plan = Plan((30, 30), (0.5, 0.5))
    order = plan.order(1, 0)
    assert order[::2] != [row - 30 for row in order[1::2]]
    assert order != plan.order(2, 0) != plan.order(1, 1)


class Mixed(Numbers):
    """A data set of two parts."""

    @property
    def plan(self) -> Plan:
        return Plan((5, self.rows - 5), (0.6, 0.4))


@pytest.mark.parametrize("start", range(9))
def test_a_walk_over_a_mixture_goes_on_anywhere(start: int) -> None:
    whole = list(islice(walk(Mixed(20), 4, seed=5), 12))
    assert [len(batch) for batch in whole[:2]] == [4, 4]  # an epoch has 5 and 3 rows
    assert list(islice(walk(Mixed(20), 4, seed=5, start=start), 12 - start)) == whole[start:]
    seen = {row for batch in whole[:start] for row in batch}
    assert visited(Mixed(20).plan, 4, seed=5, steps=start) == sorted(seen)


def test_the_walk_goes_on_through_epochs() -> None:
    plan, seed = Plan((5,)), 3
    walk = list(itertools.chain(*(plan.order(seed, epoch) for epoch in range(4))))
    for first, count in ((0, 5), (3, 4), (4, 12), (7, 1), (10, 0)):
        assert next_rows(plan, seed, first, count) == walk[first : first + count]


def spread(plan: Plan, lengths: Sequence[int], epoch: int) -> int:
    """The sum over the batches of 4 of an epoch of how much longer the longest row is than the shortest."""
    order = plan.order(3, epoch)
    batches = [[lengths[row] for row in order[start : start + 4]] for start in range(0, len(order), 4)]
    return sum(max(batch) - min(batch) for batch in batches)


@pytest.mark.parametrize("rows", [1, 3, 15, 16, 100, 1003])
def test_batches_by_length_are_those_of_transformers(rows: int) -> None:
    """On the same random order; lengths are different, so that no order of equal ones can matter."""
    lengths = [(row * 7919) % 10_007 for row in range(rows)]
    plan = Plan((rows,), lengths=tuple(lengths), batch_size=4)
    for epoch in range(3):
        generator = torch.Generator().manual_seed(3 * 1_000_003 + epoch)
        expected = get_length_grouped_indices(lengths, 4, generator=generator)
        assert plan.order(3, epoch) == expected
        assert sorted(expected) == list(range(rows))
        assert lengths[expected[0]] == max(lengths)


def test_batches_by_length_have_rows_of_about_the_same_length() -> None:
    lengths = [(row * 7919) % 997 for row in range(997)]
    plan = Plan((997,), lengths=tuple(lengths), batch_size=4)
    orders = [plan.order(3, epoch) for epoch in range(2)]
    assert orders[0] != orders[1]
    assert orders[0] == plan.order(3, 0)
    assert spread(plan, lengths, 0) < spread(Plan((997,)), lengths, 0) / 10


def test_a_mixture_by_length_has_the_same_rows() -> None:
    weights, lengths = (0.7, 0.3), tuple((row * 7919) % 997 for row in range(130))
    plain, grouped = Plan((90, 40), weights), Plan((90, 40), weights, lengths, 4)
    for epoch in range(3):
        assert sorted(plain.order(1, epoch)) == sorted(grouped.order(1, epoch))
    assert spread(grouped, lengths, 0) < spread(plain, lengths, 0) / 3
