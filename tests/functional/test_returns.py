"""Returns and advantages: by hand for every way a row can end and for gaps, against loops, and with junk at masked
places."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn

from .helpers import JUNK, assert_gradients, close, coins, f64, gradients, numbers
from .oracles import advantages, each_run, returned

NAN = float("nan")


def rows(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


def test_returns_by_hand() -> None:
    """γ = ½. Full, terminated: 1 + ½(2 + ½·4) = 3, 2 + ½·4 = 4, 4. Short, terminated: 1 + ½·2 = 2, 2. None: 0."""
    rewards = f64([[1.0, 2.0, 4.0], [1.0, 2.0, 9.0], [9.0, 9.0, 9.0]])
    discounts = f64([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])
    expected = [[3.0, 4.0, 4.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    close(fn.discounted_returns(rewards, discounts, rows([3, 2, 0], 3)), expected)


def test_returns_of_truncated_rows_by_hand() -> None:
    """γ = ½, V(final) = 8 enters after the last chosen step: 4 + ½·8 = 8, 2 + ½·8 = 6, 1 + ½·6 = 4.
    The short row: 2 + ½·8 = 6, 1 + ½·6 = 4."""
    rewards = f64([[1.0, 2.0, 4.0], [1.0, 2.0, 9.0]])
    result = fn.discounted_returns(rewards, torch.full((2, 3), 0.5), rows([3, 2], 3), f64([8.0, 8.0]))
    close(result, [[4.0, 6.0, 8.0], [4.0, 6.0, 0.0]])


@pytest.mark.parametrize("junk", JUNK)
def test_bootstrap_is_not_read_for_terminated_and_empty_rows(junk: float) -> None:
    rewards, discounts = f64([[1.0, 2.0], [9.0, 9.0]]), f64([[0.5, 0.0], [0.5, 0.5]])
    result = fn.discounted_returns(rewards, discounts, rows([2, 0], 2), f64([junk, junk]))
    close(result, [[2.0, 2.0], [0.0, 0.0]])


@pytest.mark.parametrize("junk", JUNK)
def test_returns_skip_gaps_by_hand(junk: float) -> None:
    """A reward of 1 at the end of two turns, γ = ½: at the end of the first turn it is worth ½, however long the tool's
    answer, and ½·½ = ¼ one step earlier. The second row has a prompt, two gaps and a different discount at each step:
    4, 2 + ¼·4 = 3 and 1 + ½·3 = 2.5."""
    mask = torch.tensor([[1, 1, 0, 0, 0, 1], [0, 1, 0, 1, 0, 1]]) > 0
    rewards = f64([[0, 0, junk, junk, junk, 1], [junk, 1, junk, 2, junk, 4]])
    discounts = f64([[0.5, 0.5, junk, junk, junk, 0], [junk, 0.5, junk, 0.25, junk, 0]])
    expected = [[0.25, 0.5, 0.0, 0.0, 0.0, 1.0], [0.0, 2.5, 0.0, 3.0, 0.0, 4.0]]
    close(fn.discounted_returns(rewards, discounts, mask), expected)


@pytest.mark.parametrize("junk", JUNK)
def test_returns_of_truncated_rows_with_gaps_by_hand(junk: float) -> None:
    """γ = ½, V(final) = 8 enters only after the last chosen step: 4 + ½·8 = 8, and before the gap 1 + ½·8 = 5. The
    second row is also short: 2 + ½·8 = 6 and 1 + ½·6 = 4."""
    mask = torch.tensor([[1, 0, 0, 1], [1, 0, 1, 0]]) > 0
    rewards, discounts = f64([[1, junk, junk, 4], [1, junk, 2, junk]]), torch.where(mask, 0.5, junk).double()
    close(fn.discounted_returns(rewards, discounts, mask, f64([8, 8])), [[5.0, 0.0, 0.0, 8.0], [4.0, 0.0, 6.0, 0.0]])


def test_gae_by_hand() -> None:
    """γ = ½, λ = ½, V = 1, 2, 3, terminated at step 2.
    δ = 1 + ½·2 − 1 = 1, 2 + ½·3 − 2 = 1.5, 4 − 3 = 1; A₂ = 1, A₁ = 1.5 + ¼ = 1.75, A₀ = 1 + ¼·1.75 = 1.4375."""
    result = fn.gae(
        f64([[1.0, 2.0, 4.0]]), f64([[1.0, 2.0, 3.0, NAN]]), f64([[0.5, 0.5, 0.0]]), rows([3], 3), lambda_=0.5
    )
    close(result, [[1.4375, 1.75, 1.0]])


def test_gae_of_a_short_truncated_row_reads_the_column_after_its_last_chosen_step() -> None:
    """γ = ½, λ = 1, two chosen steps of four, V = 1, 2 and V(final) = 6 in column 2; later columns are not read.
    δ = 1 + ½·2 − 1 = 1, 2 + ½·6 − 2 = 3; A₁ = 3, A₀ = 1 + ½·3 = 2.5."""
    values = f64([[1.0, 2.0, 6.0, NAN, NAN]])
    result = fn.gae(f64([[1.0, 2.0, NAN, NAN]]), values, torch.full((1, 4), 0.5), rows([2], 4), 1)
    close(result, [[2.5, 3.0, 0.0, 0.0]])


@pytest.mark.parametrize("junk", JUNK)
def test_gae_skips_gaps_by_hand(junk: float) -> None:
    """γ = λ = ½, terminated. V = 1 before the gap, 3 and 2 after it.
    δ = 1 + ½·3 − 1 = 1.5, 2 + ½·2 − 3 = 0, 4 − 2 = 2; A = 2, 0 + ¼·2 = ½, 1.5 + ¼·½ = 1.625.
    After a prompt, with two gaps, γ = ½ and then ¼, λ = ½, V = 2, 4, 8:
    δ = 1 + ½·4 − 2 = 1, 2 + ¼·8 − 4 = 0, 4 − 8 = −4; A = −4, 0 + ⅛·(−4) = −½, 1 + ¼·(−½) = 0.875."""
    mask = torch.tensor([[1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1]]) > 0
    rewards = f64([[1, junk, junk, 2, 4, junk], [junk, 1, junk, 2, junk, 4]])
    values = f64([[1, junk, junk, 3, 2, junk, junk], [junk, 2, junk, 4, junk, 8, junk]])
    discounts = f64([[0.5, junk, junk, 0.5, 0, junk], [junk, 0.5, junk, 0.25, junk, 0]])
    expected = [[1.625, 0.0, 0.0, 0.5, 2.0, 0.0], [0.0, 0.875, 0.0, -0.5, 0.0, -4.0]]
    close(fn.gae(rewards, values, discounts, mask, 0.5), expected)


@pytest.mark.parametrize("junk", JUNK)
def test_gae_of_truncated_rows_with_gaps_by_hand(junk: float) -> None:
    """γ = ½, λ = 1, V = 1 and 3, V(final) = 6 in the column after the last chosen step; the first row is also short.
    δ = 1 + ½·3 − 1 = 1.5, 4 + ½·6 − 3 = 4; A = 4, 1.5 + ½·4 = 3.5. The 5 in the gap's first column is not read."""
    mask = torch.tensor([[1, 0, 1, 0, 0], [1, 0, 0, 0, 1]]) > 0
    rewards = f64([[1, junk, 4, junk, junk], [1, junk, junk, junk, 4]])
    values = f64([[1, junk, 3, 6, junk, junk], [1, 5, junk, junk, 3, 6]])
    result = fn.gae(rewards, values, torch.where(mask, 0.5, junk).double(), mask, 1)
    close(result, [[3.5, 0.0, 4.0, 0.0, 0.0], [3.5, 0.0, 0.0, 0.0, 4.0]])


def test_value_targets_with_gaps_by_hand() -> None:
    """R = A + V, γ = ½. λ = 1 gives the discounted returns: 4 + ½·6 = 7 and 1 + ½·7 = 4.5 in the row with V(final) = 6,
    4 and 1 + ½·4 = 3 in the one that terminated. λ = 0 looks one step ahead: before the gap 1 + ½·3 = 2.5."""
    mask = torch.tensor([[True, False, True, False]] * 2)
    rewards, values = f64([[1, NAN, 4, NAN]] * 2), f64([[1, NAN, 3, 6, NAN]] * 2)
    discounts = f64([[0.5, NAN, 0.5, NAN], [0.5, NAN, 0, NAN]])
    returns = fn.discounted_returns(rewards, discounts, mask, f64([6, NAN]))
    for lambda_, expected in ((1, [[4.5, 7.0], [3.0, 4.0]]), (0, [[2.5, 7.0], [2.5, 4.0]])):
        targets = fn.gae(rewards, values, discounts, mask, lambda_) + torch.where(mask, values[:, :-1], 0.0)
        close(targets[:, ::2], expected)
        assert (targets[:, 1::2] == 0).all()
        assert lambda_ == 0 or torch.equal(targets, returns)


def batch(lead: tuple[int, ...], seed: int, gaps: bool) -> tuple[torch.Tensor, ...]:
    """Rows of many lengths, some terminated; with gaps, masks are coin flips."""
    rewards, values = numbers(*lead, 5, 6, seed=seed), numbers(*lead, 5, 7, seed=seed + 1)
    mask = coins(*lead, 5, 6, seed=seed) if gaps else rows([6, 4, 3, 1, 0], 6).expand(*lead, 5, 6)
    discounts = torch.full((*lead, 5, 6), 0.9, dtype=torch.float64)
    last = mask & (mask.flip(-1).cumsum(-1).flip(-1) == 1)
    discounts[last & coins(*lead, 5, 1, seed=seed + 2)] = 0.0
    return rewards, values, discounts, mask


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_against_loops(lead: tuple[int, ...], gaps: bool) -> None:
    rewards, values, discounts, mask = batch(lead, 5, gaps)
    bootstrap = numbers(*lead, 5, seed=9)
    expected = each_run(returned, len(lead), rewards, discounts, mask, bootstrap)
    close(fn.discounted_returns(rewards, discounts, mask, bootstrap), expected)
    expected = each_run(returned, len(lead), rewards, discounts, mask, torch.zeros_like(bootstrap))
    close(fn.discounted_returns(rewards, discounts, mask), expected)
    for lambda_ in (0.0, 0.7, 1.0):
        expected = each_run(partial(advantages, lambda_=lambda_), len(lead), rewards, values, discounts, mask)
        close(fn.gae(rewards, values, discounts, mask, lambda_), expected)
        close(fn.gae(rewards, values, discounts, mask, f64(lambda_)), expected)


@given(seed=st.integers(0, 999), gaps=st.booleans(), lambda_=st.floats(0, 1))
def test_against_loops_on_any_batch(seed: int, gaps: bool, lambda_: float) -> None:
    rewards, values, discounts, mask = batch((), seed, gaps)
    expected = each_run(partial(advantages, lambda_=lambda_), 0, rewards, values, discounts, mask)
    close(fn.gae(rewards, values, discounts, mask, lambda_), expected)


@given(seed=st.integers(0, 999), lambda_=st.floats(0, 1))
def test_masked_places_can_be_removed(seed: int, lambda_: float) -> None:
    """Values and gradients of every row are bit-identical to those of the row of its chosen steps alone."""
    rewards, values, discounts, mask = batch((), seed, gaps=True)
    bootstrap = numbers(5, seed=seed + 3)

    def results(chosen: torch.Tensor, read: torch.Tensor, b: int, *inputs: torch.Tensor) -> list[torch.Tensor]:
        out = []
        for function in (
            lambda r, d, v: fn.gae(r, v, d, chosen[None], lambda_)[:, chosen],
            lambda r, d, _: fn.discounted_returns(r, d, chosen[None], bootstrap[b : b + 1])[:, chosen],
        ):
            slopes = gradients(function, *inputs)
            out += [function(*inputs), *(x[:, kept] for x, kept in zip(slopes, (chosen, chosen, read), strict=True))]
        return out

    for b, chosen in enumerate(mask):
        read = torch.nn.functional.pad(chosen, (0, 1))
        read[chosen.nonzero().max() + 1 if chosen.any() else 0] = True
        cut = rewards[b, chosen], discounts[b, chosen], values[b, read]
        with_gaps = results(chosen, read, b, *(x[b : b + 1] for x in (rewards, discounts, values)))
        without = results(chosen[chosen], read[read], b, *(x[None] for x in cut))
        for one, other in zip(with_gaps, without, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places_changes_neither_value_nor_gradient(junk: float, gaps: bool) -> None:
    """Junk in masked rewards and discounts, and in all values but those of chosen steps and V(final) of row 1, which is
    truncated."""
    rewards, values, discounts, mask = batch((), 0, gaps=False)
    if gaps:
        mask = mask & torch.tensor([1, 0, 0, 1, 1, 1], dtype=torch.bool)
        mask[2] = torch.tensor([0, 1, 0, 1, 0, 1])
    last = mask & (mask.flip(-1).cumsum(-1).flip(-1) == 1)
    discounts = torch.where(last & (torch.arange(5) != 1)[:, None], 0.0, 0.9).double()
    read = torch.nn.functional.pad(mask, (0, 1))
    read[1, 4] = True
    assert (last[1].nonzero() == 3).all()

    def clean(x: torch.Tensor, real: torch.Tensor, fill: float) -> torch.Tensor:
        return torch.where(real, x, fill)

    def dirty_and_clean(function) -> None:
        (value, *slopes), (clean_value, *clean_slopes) = (
            (function(*inputs), *gradients(function, *inputs))
            for inputs in (
                (clean(rewards, mask, f), clean(values, read, f), clean(discounts, mask, f)) for f in (junk, 0)
            )
        )
        assert torch.equal(value, clean_value)
        for slope, clean_slope in zip(slopes, clean_slopes, strict=True):
            assert torch.equal(slope, clean_slope)

    dirty_and_clean(lambda r, v, d: fn.gae(r, v, d, mask, 0.7))
    dirty_and_clean(lambda r, v, d: fn.discounted_returns(r, d, mask, v[..., 4]))


def test_gradients_against_finite_differences() -> None:
    rewards, values, discounts, mask = batch((2,), 3, gaps=True)
    assert_gradients(lambda r, v: fn.gae(r, v, discounts, mask, 0.7), rewards, values)
    assert_gradients(lambda r, b: fn.discounted_returns(r, discounts, mask, b), rewards, values[..., 0])


def test_lambda_per_run() -> None:
    rewards, values, discounts, mask = batch((2,), 3, gaps=False)
    together = fn.gae(rewards, values, discounts, mask, f64([0.2, 0.8])[:, None, None])
    for run, lambda_ in enumerate((0.2, 0.8)):
        assert torch.equal(together[run], fn.gae(rewards[run], values[run], discounts[run], mask[run], lambda_))


def test_no_steps_at_all() -> None:
    empty, mask = torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)
    assert fn.discounted_returns(empty, empty, mask).shape == (2, 0)
    assert fn.gae(empty, torch.zeros(2, 1), empty, mask, 0.9).shape == (2, 0)


def test_values_without_the_extra_column_are_refused() -> None:
    x, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="one more column"):
        fn.gae(x, x, x, mask, 0.9)
