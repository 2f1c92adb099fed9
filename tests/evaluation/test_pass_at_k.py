"""pass@k against the enumeration of all subsets, and its unbiasedness against all outcomes."""

from itertools import combinations, product
from math import prod

import pytest

from burnish.evaluation.pass_at_k import mean_pass_at_k, pass_at_k, some_k


def test_the_estimator_is_the_share_of_subsets_with_a_right_answer() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            answers = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                subsets = list(combinations(answers, k))
                share = sum(map(any, subsets)) / len(subsets)
                assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-15)


def test_its_expectation_is_the_chance_that_one_of_k_is_right() -> None:
    """E over all 2ⁿ outcomes of n answers, each right with probability p, is 1 − (1 − p)ᵏ."""
    n, p = 6, 0.3
    for k in range(1, n + 1):
        expected = sum(
            prod(p if right else 1 - p for right in outcome) * pass_at_k(n, sum(outcome), k)
            for outcome in product((False, True), repeat=n)
        )
        assert expected == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


def test_it_is_exact_for_many_answers() -> None:
    assert pass_at_k(10_000, 1, 5_000) == 0.5
    assert pass_at_k(64, 64, 64) == pass_at_k(64, 1, 64) == 1
    assert pass_at_k(64, 0, 64) == 0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_what_is_not_defined(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="is not defined"):
        pass_at_k(n, c, k)


def test_the_mean_has_an_interval_over_prompts() -> None:
    """Wilson's interval of 0 of 10 at 95 % is [0, 0.2775]."""
    assert mean_pass_at_k([0] * 10, 4, 1).high == pytest.approx(0.2775, abs=1e-4)
    found = mean_pass_at_k([0, 1, 2, 4], 4, 2)
    assert found.mean == pytest.approx((0 + 3 / 6 + 5 / 6 + 1) / 4)
    assert found.low < found.mean < found.high
    assert some_k(64) == [1, 2, 4, 8, 16, 32, 64]
    assert some_k(3) == [1, 2]
