"""Masked reductions: by hand, against nested loops, and with junk at masked places."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn
from burnish.functional.masked import is_last

from .helpers import JUNK, assert_gradients, close, coins, f64, gradients, numbers
from .oracles import aggregated, each_run, standardised

X = f64([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
MASK = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])


def test_sum_and_mean_by_hand() -> None:
    """Real: 1, 2 and 4. Sum 7, mean 7/3; by row 3, 4, 0 and 1.5, 4, 0; by column 5, 2, 0 and 2.5, 2, 0."""
    close(fn.masked_sum(X, MASK), 7.0)
    close(fn.masked_mean(X, MASK), 7 / 3)
    close(fn.masked_sum(X, MASK, dim=-1), [3.0, 4.0, 0.0])
    close(fn.masked_mean(X, MASK, dim=-1), [1.5, 4.0, 0.0])
    close(fn.masked_sum(X, MASK, 0), [5.0, 2.0, 0.0])
    close(fn.masked_mean(X, MASK, 0), [2.5, 2.0, 0.0])
    close(fn.masked_mean(X[None], MASK[None], (-2, -1)), [7 / 3])


def test_mask_broadcasts() -> None:
    """Rows 0 and 1 real: sums 1 + 2 + 9 + 4 + 9 + 9 = 34 over 6 places; and the same mask for two runs."""
    rows = torch.tensor([[True], [True], [False]])
    close(fn.masked_sum(X, rows), 34.0)
    close(fn.masked_mean(X, rows), 34 / 6)
    close(fn.masked_mean(torch.stack([X, 2 * X]), MASK, (-2, -1)), [7 / 3, 14 / 3])
    close(fn.masked_mean(X[0], MASK, -1), [1.5, 1.0, 0.0])


def test_is_last_is_the_last_true_whatever_gaps_precede_it() -> None:
    mask = torch.tensor([[True, False, True, False], [False] * 4, [True] * 4])
    assert is_last(mask).tolist() == [[False, False, True, False], [False] * 4, [False, False, False, True]]


def test_centre_by_hand() -> None:
    """Real: 1, 2, 4 with mean 7/3."""
    close(fn.centre(X, MASK), [[1 - 7 / 3, 2 - 7 / 3, 0], [4 - 7 / 3, 0, 0], [0, 0, 0]])


def test_standardise_by_hand() -> None:
    """0 and 2 have mean 1 and population variance 1: with eps = 3 they become ∓1/√(1 + 3) = ∓½."""
    x, mask = f64([[0.0, 2.0, 50.0]]), torch.tensor([[True, True, False]])
    close(fn.standardise(x, mask, eps=3), [[-0.5, 0.5, 0.0]])
    close(fn.standardise(x, mask), [[-1 / math.sqrt(1 + 1e-8), 1 / math.sqrt(1 + 1e-8), 0.0]])


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_standardise_against_loops(lead: tuple[int, ...]) -> None:
    """Each leading index has its own statistics, also one without a real step and one with a single one."""
    x, mask = 3 + 2 * numbers(*lead, 4, 5), coins(*lead, 4, 5)
    if lead:
        mask[0] = False
        mask[-1] = torch.arange(20).reshape(4, 5) == 7
    close(fn.standardise(x, mask, eps=0.1), each_run(partial(standardised, eps=0.1), len(lead), x, mask))


def test_equal_numbers_standardise_to_exactly_zero() -> None:
    """The mean of three times 0.1 is not 0.1: the result must be 0 even with eps = 0."""
    x, mask = torch.full((1, 3), 0.1, dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool)
    assert sum([0.1] * 3) / 3 != 0.1
    for result in (fn.centre(x, mask), fn.standardise(x, mask), fn.standardise(x, mask, eps=0)):
        assert result.tolist() == [[0.0, 0.0, 0.0]]
    assert gradients(lambda x: fn.standardise(x, mask, eps=0), x)[0].isfinite().all()


@pytest.mark.parametrize("function", [fn.masked_sum, fn.masked_mean, fn.centre, fn.standardise, fn.aggregate])
def test_all_masked_gives_zero(function) -> None:
    x, mask = torch.full((2, 3), float("nan"), dtype=torch.float64), torch.zeros(2, 3, dtype=torch.bool)
    assert (function(x, mask) == 0).all()
    assert (gradients(lambda x: function(x, mask), x)[0] == 0).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
def test_empty_batches_give_zero(shape: tuple[int, ...]) -> None:
    x, mask = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    assert fn.centre(x, mask).shape == fn.standardise(x, mask).shape == x.shape
    assert (fn.aggregate(x, mask) == 0).all()
    assert fn.aggregate(x, mask).shape == x.shape[:-2]


REDUCTIONS = [
    fn.masked_sum,
    fn.masked_mean,
    partial(fn.masked_mean, dim=-1),
    fn.centre,
    fn.standardise,
    fn.aggregate,
    partial(fn.aggregate, over="sequence"),
    partial(fn.aggregate, over="constant", total=7),
]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("function", REDUCTIONS)
def test_junk_at_masked_places_changes_neither_value_nor_gradient(function, junk: float) -> None:
    x, mask = numbers(3, 4), coins(3, 4)
    dirty = torch.where(mask, x, junk)
    clean = torch.where(mask, x, 0.0)
    assert torch.equal(function(dirty, mask), function(clean, mask))
    (dirty_gradient,), (clean_gradient,) = (gradients(lambda x: function(x, mask), y) for y in (dirty, clean))
    assert torch.equal(dirty_gradient, clean_gradient)
    assert (dirty_gradient[~mask] == 0).all()
    assert (dirty_gradient[mask] != 0).all()


@pytest.mark.parametrize("function", REDUCTIONS)
def test_gradients_against_finite_differences(function) -> None:
    mask = coins(2, 3, 4)
    assert_gradients(lambda x: function(x, mask), numbers(2, 3, 4))


def test_aggregate_by_hand() -> None:
    """Real tokens 1, 2 | 4 | none: (1 + 2 + 4)/3; row means 1.5 and 4 over the 2 rows that have any; sum 7 over 10."""
    close(fn.aggregate(X, MASK), 7 / 3)
    close(fn.aggregate(X, MASK, over="sequence"), 5.5 / 2)
    close(fn.aggregate(X, MASK, over="constant", total=10), 0.7)
    close(fn.aggregate(f64([1.0, 2.0, 6.0]), torch.tensor([True, False, True]), over="row"), 3.5)


def test_total_replaces_the_count() -> None:
    """With a total of 10 tokens, 10 rows: 7/10, 5.5/10, 7/10, and rows 1 + 6 over 10."""
    close(fn.aggregate(X, MASK, total=10), 0.7)
    close(fn.aggregate(X, MASK, over="sequence", total=10.0), 0.55)
    close(
        fn.aggregate(f64([1.0, 2.0, 6.0]), torch.tensor([True, False, True]), over="row", total=torch.tensor(10)), 0.7
    )
    close(fn.aggregate(X, MASK, total=0.1), 70.0)


def test_total_per_run() -> None:
    two = torch.stack([X, X])
    close(fn.aggregate(two, MASK.expand(2, 3, 3), total=torch.tensor([7, 14])), [1.0, 0.5])
    close(fn.aggregate(two, MASK.expand(2, 3, 3), over="constant", total=f64([7.0, 0.5])), [1.0, 14.0])


@pytest.mark.parametrize("over", ["token", "sequence"])
def test_a_total_of_zero_gives_zero(over: str) -> None:
    close(fn.aggregate(X, torch.zeros_like(MASK), over=over, total=0), 0.0)
    mask = torch.stack([MASK, torch.zeros_like(MASK)])
    count = {"token": 3, "sequence": 2}[over]
    result = fn.aggregate(torch.stack([X, X]), mask, over=over, total=torch.tensor([count, 0]))
    close(result, [{"token": 7 / 3, "sequence": 2.75}[over], 0.0])


@pytest.mark.parametrize(
    ("over", "total"), [("token", None), ("token", 11), ("sequence", None), ("sequence", 11), ("constant", 11)]
)
@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_aggregate_against_loops(over: str, lead: tuple[int, ...], total: int | None) -> None:
    losses, mask = numbers(*lead, 4, 5), coins(*lead, 4, 5, seed=3)
    mask[..., 1, :] = False
    expected = each_run(partial(aggregated, over=over, total=total), len(lead), losses, mask)
    close(fn.aggregate(losses, mask, over, total), expected)


def test_row_losses_keep_leading_dimensions() -> None:
    losses, mask = f64([[1.0, 3.0, 5.0], [2.0, 2.0, 2.0]]), torch.tensor([[True, True, False], [False] * 3])
    close(fn.aggregate(losses, mask, over="row"), [2.0, 0.0])


@pytest.mark.parametrize("over", ["token", "sequence", "constant", "row"])
@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
def test_parts_of_a_batch_add_up_to_its_loss(over: str, cut: int, seed: int) -> None:
    """With the whole batch's total, losses and gradients of the parts add up to the whole's, however it is cut."""
    losses, mask = numbers(6, 4, seed=seed), coins(6, 4, seed=seed)
    total = {"token": mask.sum(), "sequence": mask.any(-1).sum(), "constant": 24, "row": mask[:, 0].sum()}[over]
    if over == "row":
        losses, mask = losses[:, 0], mask[:, 0]
    whole = fn.aggregate(losses, mask, over, total=24 if over == "constant" else None)
    parts = fn.aggregate(losses[:cut], mask[:cut], over, total) + fn.aggregate(losses[cut:], mask[cut:], over, total)
    close(parts, whole)


def test_aggregate_refuses_unknown_reductions_and_missing_totals() -> None:
    with pytest.raises(ValueError, match="'sequence'"):
        fn.aggregate(X, MASK, over="batch")
    with pytest.raises(ValueError, match="total"):
        fn.aggregate(X, MASK, over="constant")
    with pytest.raises(ValueError, match="total"):
        fn.aggregate(X, MASK, over="constant", total=0)


# Moments -----------------------------------------------------------------------------------------------------------


def test_moments_by_hand() -> None:
    """1, 2 and 6: n = 3, the largest 6, deviations from it −9, squared deviations from 3 are 4 + 1 + 9 = 14."""
    found = fn.moments(f64([[1, 2, math.nan], [6, 1e30, 7]]), torch.tensor([[True, True, False], [True, False, False]]))
    assert (found.count.item(), found.largest.item(), found.shifted.item(), found.squares.item()) == (3, 6, -9, 14)


@pytest.mark.parametrize("cut", range(6))
def test_moments_of_parts_add_up(cut: int) -> None:
    """Wherever a batch is cut, also where one part has nothing real; and what is standardised by them is the same."""
    x = 1e3 + torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3)).double()
    mask = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(4)) > 0.4
    mask[:, 0] = False
    parts = [(x[:, :cut], mask[:, :cut]), (x[:, cut:], mask[:, cut:])]
    total, whole = fn.moments(*parts[0]) + fn.moments(*parts[1]), fn.moments(x, mask)
    assert whole.count.tolist() == mask.sum((1, 2)).tolist()
    for name in ("count", "largest", "shifted", "squares"):
        torch.testing.assert_close(getattr(total, name), getattr(whole, name), rtol=1e-9, atol=1e-9)
    joined = torch.cat([fn.standardise(*part, of=total) for part in parts], 1)
    torch.testing.assert_close(joined, fn.standardise(x, mask), rtol=1e-7, atol=1e-9)
    joined = torch.cat([fn.centre(*part, of=total) for part in parts], 1)
    torch.testing.assert_close(joined, fn.centre(x, mask), rtol=1e-9, atol=1e-9)


def test_equal_numbers_in_all_parts_give_exactly_0() -> None:
    part = (torch.full((2, 3), 0.1), torch.ones(2, 3, dtype=torch.bool))
    total = fn.moments(*part) + fn.moments(*part)
    assert (fn.standardise(*part, of=total) == 0).all()


def test_parts_without_a_real_number_add_nothing() -> None:
    nothing = fn.moments(torch.full((1, 2), math.nan), torch.zeros(1, 2, dtype=torch.bool))
    some = fn.moments(f64([[1, 3]]), torch.ones(1, 2, dtype=torch.bool))
    for total in (nothing + some, some + nothing):
        assert (total.count.item(), total.shifted.item(), total.squares.item()) == (2, -2, 2)
    both = nothing + nothing
    assert both.count == 0
    assert (fn.standardise(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool), of=both) == 0).all()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 4)])
def test_a_part_without_a_place_has_the_moments_of_nothing(shape: tuple[int, ...]) -> None:
    """As the share of a process that was given no row; whoever has some is not changed by it."""
    empty = fn.moments(torch.zeros(shape), torch.zeros(shape, dtype=torch.bool))
    assert empty.count.shape == empty.largest.shape == empty.shifted.shape == empty.squares.shape == shape[:-2]
    assert (empty.count == 0).all()
    some = fn.moments(torch.tensor([[1.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool))
    for total in (empty + some, some + empty):
        for name, expected in (("count", 2), ("largest", 3), ("shifted", -2), ("squares", 2)):
            assert (getattr(total, name) == expected).all()


def test_standardising_by_the_moments_of_two_parts_by_hand() -> None:
    """1, 2 and, elsewhere, 6 have mean 3 and variance 14/3; the other run's 5 and 5, 5 become exactly 0."""
    here, there = f64([[[1, 2]], [[5, 5]]]), f64([[[6, 1e30]], [[5, 5]]])
    real = (torch.ones(2, 1, 2, dtype=torch.bool), torch.tensor([[[True, False]], [[True, False]]]))
    total = fn.moments(here, real[0]) + fn.moments(there, real[1])
    deviation = (14 / 3) ** 0.5
    close(fn.centre(here, real[0], of=total), [[[-2.0, -1.0]], [[0.0, 0.0]]])
    close(fn.standardise(here, real[0], 0.0, of=total), [[[-2 / deviation, -1 / deviation]], [[0.0, 0.0]]])
    close(fn.standardise(there, real[1], 0.0, of=total), [[[3 / deviation, 0.0]], [[0.0, 0.0]]])


def test_the_order_of_the_parts_and_how_they_are_joined_are_the_same() -> None:
    parts = [fn.moments(1e3 * numbers(2, 3, 4, seed=seed), coins(2, 3, 4, seed=seed)) for seed in range(3)]
    for total in (parts[0] + (parts[1] + parts[2]), (parts[2] + parts[0]) + parts[1]):
        for name in ("count", "largest", "shifted", "squares"):
            close(getattr(total, name), getattr(parts[0] + parts[1] + parts[2], name))
