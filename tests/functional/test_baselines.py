"""Group baselines: by hand, with both standard deviations in use, and groups of equal scores."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers

SCORES = f64([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])


def test_by_hand() -> None:
    """Means 3 and 1; deviations −2, −1, 3 and −1, −1, 2; minus the mean of the others 1 − 4, 2 − 3.5, 6 − 1.5 etc."""
    close(fn.group_centre(SCORES), [[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]])
    close(fn.leave_one_out(SCORES), [[-3.0, -1.5, 4.5], [-1.5, -1.5, 3.0]])


def test_standardised_by_hand() -> None:
    """Squares sum to 14 and 6: s = √(14/3), √2 of the population, √7, √3 of the sample."""
    population, sample = [math.sqrt(14 / 3), math.sqrt(2)], [math.sqrt(7), math.sqrt(3)]
    deviations = f64([[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]])
    close(fn.group_standardise(SCORES, eps=0), deviations / f64(population)[:, None])
    close(fn.group_standardise(SCORES, correction=1, eps=0), deviations / f64(sample)[:, None])
    close(fn.group_standardise(SCORES), deviations / (f64(population)[:, None] + 1e-8))
    close(fn.group_standardise(SCORES, eps=1), deviations / (f64(population)[:, None] + 1))


EQUAL = [0.0, 0.1, -1 / 3, 1e30, 1e-300]


@pytest.mark.parametrize("score", EQUAL)
@pytest.mark.parametrize("size", [2, 3, 7, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_scores_give_exactly_zero(score: float, size: int, dtype: torch.dtype) -> None:
    scores = torch.full((2, size), score, dtype=dtype)
    for function in (
        fn.group_centre,
        fn.leave_one_out,
        fn.group_standardise,
        lambda x: fn.group_standardise(x, correction=1, eps=0),
    ):
        assert (function(scores) == 0).all()
        assert gradients(function, scores)[0].isfinite().all()


def test_a_group_of_equal_scores_beside_another() -> None:
    result = fn.group_standardise(torch.stack([SCORES[0], f64([0.1] * 3)]), eps=0)
    close(result, [[-2 / math.sqrt(14 / 3), -1 / math.sqrt(14 / 3), 3 / math.sqrt(14 / 3)], [0, 0, 0]])


def test_groups_of_one() -> None:
    """0 with either correction; `leave_one_out` raises."""
    one = f64([[5.0], [7.0]])
    for result in (fn.group_centre(one), fn.group_standardise(one), fn.group_standardise(one, correction=1)):
        assert result.tolist() == [[0.0], [0.0]]
    with pytest.raises(ValueError, match="at least 2 scores"):
        fn.leave_one_out(one)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8))
def test_against_loops(scores: list[float]) -> None:
    x = f64(scores)
    n = len(scores)
    for i in range(n):
        others = [scores[j] for j in range(n) if j != i]
        close(fn.leave_one_out(x)[i], scores[i] - math.fsum(others) / (n - 1), tolerance=1e-10)
        close(fn.group_centre(x)[i], scores[i] - math.fsum(scores) / n, tolerance=1e-10)


def test_groups_never_mix() -> None:
    scores = numbers(2, 3, 4)
    for function in (fn.group_centre, fn.group_standardise, fn.leave_one_out):
        together = function(scores)
        for i in range(2):
            for j in range(3):
                assert torch.equal(together[i, j], function(scores[i, j]))


def test_gradients_against_finite_differences() -> None:
    assert_gradients(fn.group_centre, numbers(2, 4))
    assert_gradients(fn.leave_one_out, numbers(2, 4))
    assert_gradients(fn.group_standardise, numbers(2, 4))
    assert_gradients(lambda x: fn.group_standardise(x, correction=1, eps=0.1), numbers(2, 4))


def test_left_out_and_standardised_by_hand() -> None:
    """Of 1 2 6: −3/s of (2 6), −1½/s of (1 6), 4½/s of (1 2), with s = |difference|/√2. Of 0 0 3: the peers of 3 are
    equal, so it stays 3; −1½/(3/√2). Of a pair: no deviation is left."""
    root = math.sqrt(2)
    expected = [[-3 / (4 / root), -1.5 / (5 / root), 4.5 / (1 / root)], [-1.5 / (3 / root), -1.5 / (3 / root), 3.0]]
    close(fn.leave_one_out_standardise(SCORES, eps=0), expected)
    close(fn.leave_one_out_standardise(f64([[1.0, 3.0]])), [[-2.0, 2.0]])
    for score in EQUAL:
        assert (fn.leave_one_out_standardise(torch.full((2, 5), score)) == 0).all()


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=8))
def test_left_out_and_standardised_against_loops(scores: list[float]) -> None:
    found = fn.leave_one_out_standardise(f64(scores), eps=0.5)
    for i, own in enumerate(scores):
        others = [score for j, score in enumerate(scores) if j != i]
        mean = math.fsum(others) / len(others)
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in others) / (len(others) - 1))
        close(found[i], (own - mean) / (deviation + 0.5 if len(set(others)) > 1 else 1), tolerance=1e-8)
