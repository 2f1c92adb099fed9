"""Gao et al.'s forms against planted coefficients, a grid of distances, and what is resampled by hand."""

import math

import numpy as np
import pytest

from burnish.evaluation.overoptimisation import Fit, Form, Run, columns, ends_of, fit_of, fitted, resampled

PLANTED = [(1.5, 0.4), (0.3, 0.9), (2.0, -0.1), (-0.5, 0.2), (0.8, 0.0)]
FORMS: tuple[Form, ...] = ("best_of_n", "rl")


def planted(form: Form, alpha: float, beta: float, d: float) -> float:
    return d * (alpha - beta * (d if form == "best_of_n" else math.log(d)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("alpha", "beta"), PLANTED)
def test_planted_coefficients_come_back_to_rounding(form: Form, alpha: float, beta: float) -> None:
    d = np.array([0.3, 0.7, 1.0, 1.9, 4.0])
    gains = np.array([planted(form, alpha, beta, one) for one in d])
    found = fitted(form, d, gains)
    assert found is not None
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta), abs=1e-12)
    assert found.at(d) == pytest.approx(gains, abs=1e-12)
    assert found.at(np.array([0.0])) == 0.0


def test_the_forms_by_hand() -> None:
    """At d = 2 with α = 3, β = 0.5: 2 (3 − 1) = 4, and 2 (3 − 0.5 ln 2) = 5.30685. A fit through (1, 1) and (2, 0) is
    α = 2, β = 1 of the best of n, and α = 1, β = 1/ln 2 of RL."""
    assert Fit("best_of_n", 3.0, 0.5).at(np.array([2.0])) == pytest.approx([4.0])
    assert Fit("rl", 3.0, 0.5).at(np.array([2.0])) == pytest.approx([6 - math.log(2)])
    points = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    best, rl = fitted("best_of_n", *points), fitted("rl", *points)
    assert best is not None
    assert rl is not None
    assert (best.alpha, best.beta) == pytest.approx((2.0, 1.0))
    assert (rl.alpha, rl.beta) == pytest.approx((1.0, 1 / math.log(2)))


@pytest.mark.parametrize("form", FORMS)
def test_the_peak_is_the_highest_of_a_grid(form: Form) -> None:
    """α/(2β) = 1.875 and exp(α/β − 1) = e^2.75 = 15.64."""
    one = Fit(form, 1.5, 0.4)
    grid = np.linspace(0.0, 40.0, 400_001)
    assert one.peak == pytest.approx(1.875 if form == "best_of_n" else math.exp(2.75))
    assert one.peak == pytest.approx(grid[np.argmax(one.at(grid))], abs=1e-3)


def test_a_form_without_a_highest_gain_has_no_peak() -> None:
    assert Fit("best_of_n", 1.0, 0.0).peak == math.inf
    assert Fit("rl", 1.0, -0.1).peak == math.inf
    assert Fit("rl", 1.0, 1e-9).peak == math.inf  # farther than any float
    assert Fit("best_of_n", -1.0, 0.5).peak == 0.0  # it falls from the start
    assert Fit("rl", -1.0, 0.5).peak == pytest.approx(math.exp(-3))


def test_noisy_points_have_the_least_squared_error() -> None:
    """No coefficients near the fitted ones have a smaller error."""
    rng = np.random.default_rng(0)
    d = np.sqrt(np.arange(1.0, 13.0))
    gains = 1.2 * d - 0.3 * d * np.log(d) + rng.normal(0, 0.2, 12)
    found = fitted("rl", d, gains)
    assert found is not None

    def error(one: Fit) -> float:
        return float(((one.at(d) - gains) ** 2).sum())

    for change in (1e-3, -1e-3):
        assert error(found) < error(Fit("rl", found.alpha + change, found.beta))
        assert error(found) < error(Fit("rl", found.alpha, found.beta + change))


@pytest.mark.parametrize("form", FORMS)
def test_points_that_do_not_determine_two_coefficients_have_no_fit(form: Form) -> None:
    assert fitted(form, np.array([0.0, 0.0]), np.array([0.0, 1.0])) is None
    assert fitted(form, np.array([0.0, 2.0, 2.0]), np.array([0.0, 1.0, 1.1])) is None
    assert columns(form, np.array([0.0])).tolist() == [[0.0, 0.0]]


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="distances of at least 0"):
        fitted("rl", np.array([-1.0, 1.0]), np.zeros(2))
    with pytest.raises(ValueError, match="finite gains"):
        fitted("rl", np.array([1.0, 2.0]), np.array([0.0, np.nan]))


def test_runs_are_fitted_by_their_means_over_prefixes() -> None:
    """KLs of 0 and 2, and of 2 and 6, have means of 1 and 4, so d is 1 and 2; gains of 1 and 0 are those of α = 2 and
    β = 1. A mean KL below 0 counts as 0."""
    one = Run(np.array([[0.0, 2.0], [2.0, 6.0], [-3.0, 1.0]]), np.array([[0.0, 2.0], [1.0, -1.0], [0.0, 0.0]]))
    found = fit_of("best_of_n", [one])
    assert found is not None
    assert (found.alpha, found.beta) == pytest.approx((2.0, 1.0))
    first = fit_of("best_of_n", [one], np.array([0.0, 1.0]))  # of the second prefix alone: d √2, √6 and 1
    by_hand = fitted("best_of_n", np.sqrt([2.0, 6.0, 1.0]), np.array([2.0, -1.0, 0.0]))
    assert first == by_hand


def test_resamples_draw_runs_and_prefixes_and_are_paired() -> None:
    """Two runs without noise, of α = 1 and 2: a resample has one of them twice or both, and so 1, 1.5 or 2, with the
    chances ¼, ½ and ¼. The same draws of other runs give the same sequence."""
    d = np.array([1.0, 2.0, 3.0])
    runs = [Run(np.tile(d[:, None] ** 2, 4), np.tile(alpha * d[:, None], 4)) for alpha in (1.0, 2.0)]
    found = [one.alpha for one in resampled("rl", runs, 400) if one is not None]
    assert len(found) == 400
    counts = [sum(abs(alpha - one) < 1e-9 for one in found) for alpha in (1.0, 1.5, 2.0)]
    assert sum(counts) == 400
    assert np.abs(np.array(counts) - [100, 200, 100]).max() < 40
    twice = [Run(run.kl, 2 * run.gain) for run in runs]
    other = [one.alpha for one in resampled("rl", twice, 400) if one is not None]
    assert other == pytest.approx([2 * one for one in found])


def test_prefixes_are_resampled_together_in_all_runs() -> None:
    """Of prefixes with gains of d and −d, of which a resample draws k of one kind among 4, α is (k − (4 − k))/4, the
    same in both runs; were they drawn apart, odd quarters would appear."""
    d = np.array([[1.0], [2.0]])
    gain = d * np.array([1.0, 1.0, -1.0, -1.0])
    runs = [Run(np.tile(d**2, 4), gain)] * 2
    alphas = {round(4 * one.alpha, 6) for one in resampled("best_of_n", runs, 300) if one is not None}
    assert alphas <= {-4.0, -2.0, 0.0, 2.0, 4.0}
    assert len(alphas) == 5


def test_ends_may_be_infinite() -> None:
    assert ends_of([1.0] * 50 + [math.inf] * 50) == (1.0, math.inf)
    assert ends_of([math.inf] * 4) == (math.inf, math.inf)
    assert ends_of(list(map(float, range(1000)))) == (25.0, 974.0)  # 25 values lie beyond each
