"""The bound against exact KLs, and the estimate against every choice of n samples."""

import math
from itertools import combinations, product

import numpy as np
import pytest

from burnish.evaluation.best_of_n import best, best_of_n_kl, expected_best


def exact_kl(probabilities: list[float], scores: list[float], n: int) -> float:
    """KL(π_n ‖ π) by enumerating every n-tuple of samples; of equal scores the first is kept."""
    kept = [0.0] * len(probabilities)
    for drawn in product(range(len(probabilities)), repeat=n):
        winner = max(drawn, key=lambda i: scores[i])  # max keeps the first of equals
        kept[winner] += math.prod(probabilities[i] for i in drawn)
    return sum(q * math.log(q / p) for p, q in zip(probabilities, kept, strict=True) if q)


def test_the_bound_by_hand() -> None:
    """log 1 − 0 = 0; log 2 − 1/2 = 0.19315; log 16 − 15/16 = 1.83509."""
    assert best_of_n_kl(1) == 0.0
    assert best_of_n_kl(2) == pytest.approx(0.19315, abs=1e-5)
    assert best_of_n_kl(16) == pytest.approx(1.83509, abs=1e-5)
    with pytest.raises(ValueError, match="at least one sample, not 0"):
        best_of_n_kl(0)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("scores", [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 5.0], [3.0] * 4])
def test_no_exact_kl_is_above_the_bound(scores: list[float], n: int) -> None:
    for probabilities in ([0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.01, 0.01, 0.01, 0.97]):
        assert -1e-12 <= exact_kl(probabilities, scores, n) <= best_of_n_kl(n) + 1e-12


def test_the_bound_is_close_where_all_completions_differ_and_far_where_one_is_likely() -> None:
    """Of 100 equally likely completions the k-th best is kept of two with probability (2k − 1)/100²."""
    exact = exact_kl([0.01] * 100, [float(k) for k in range(100)], 2)
    assert exact == pytest.approx(sum((2 * k - 1) / 1e4 * math.log((2 * k - 1) / 100) for k in range(1, 101)))
    assert best_of_n_kl(2) - 0.001 < exact < best_of_n_kl(2)
    assert exact_kl([0.001, 0.999], [0.0, 1.0], 4) < best_of_n_kl(4) / 100


def test_best_is_the_first_of_equals() -> None:
    scores = np.array([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0], [-2.0, -3.0, -1.0]])
    assert best(scores).tolist() == [1, 0, 2]


def test_expected_best_by_hand() -> None:
    """Of 1, 2, 4 the pairs' bests are 2, 4, 4: mean 10/3."""
    scores = np.array([[4.0, 1.0, 2.0]])
    assert expected_best(scores, 1) == pytest.approx([7 / 3])
    assert expected_best(scores, 2) == pytest.approx([10 / 3])
    assert expected_best(scores, 3) == pytest.approx([4.0])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_expected_best_is_the_mean_over_every_choice(n: int) -> None:
    """With many ties, and with the values of another judge."""
    rng = np.random.default_rng(0)
    scores, values = rng.integers(0, 4, (5, 7)).astype(float), rng.standard_normal((5, 7))
    for given, found in [(scores, expected_best(scores, n)), (values, expected_best(scores, n, values))]:
        for i in range(5):
            picked = [max(some, key=lambda k: scores[i, k]) for some in combinations(range(7), n)]
            assert found[i] == pytest.approx(np.mean([given[i, k] for k in picked]))


def test_many_samples_do_not_overflow() -> None:
    """Of 0 … 4095 the best of all is 4095, and the mean of one is 2047.5; binomials have a thousand digits."""
    scores = np.arange(4096.0)[None]
    assert expected_best(scores, 4096) == pytest.approx([4095.0])
    assert expected_best(scores, 2048)[0] == pytest.approx(2048 * 4097 / 2049 - 1)  # n(m + 1)/(n + 1) − 1
    assert expected_best(scores, 1) == pytest.approx([2047.5])


def test_what_makes_no_sense_is_refused() -> None:
    scores = np.ones((2, 3))
    for n in (0, 4):
        with pytest.raises(ValueError, match=rf"the best of {n} needs scores"):
            expected_best(scores, n)
    with pytest.raises(ValueError, match="values need the shape"):
        expected_best(scores, 2, np.ones((2, 2)))
    with pytest.raises(ValueError, match="finite"):
        best(np.array([[1.0, np.nan]]))
