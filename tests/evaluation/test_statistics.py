"""Expected numbers are worked by hand, enumerated, or are the nominal coverage of simulated data."""

from itertools import product

import numpy as np
import pytest

from burnish.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    clustered_interval,
    correlation,
    interval_of_mean,
    paired_difference,
    proportion,
    win_rate,
    win_scores,
)


def coverage(truth: float, intervals: list[Interval]) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def test_estimate_is_the_statistic_itself():
    values = [1.0, 2.0, 6.0, 7.0]
    assert bootstrap_interval(values).mean == 4.0
    assert bootstrap_interval([1.0, 2.0, 9.0], statistic=np.median).mean == 2.0


def test_two_values_resample_to_three_means():
    """Resamples of {0, 1} have means 0, ½, ½, 1: a 95 % interval ends at 0 and 1, a 40 % interval at ½ and ½."""
    wide, narrow = bootstrap_interval([0.0, 1.0]), bootstrap_interval([0.0, 1.0], confidence=0.4)
    assert (wide.mean, wide.low, wide.high) == (0.5, 0.0, 1.0)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_a_single_value_has_no_interval():
    """As a summary has it; of two values it is `bootstrap_interval`'s."""
    assert interval_of_mean([7.0]) == {"mean": 7.0, "low": None, "high": None}
    assert interval_of_mean([0.0, 1.0]) == {"mean": 0.5, "low": 0.0, "high": 1.0}
    assert interval_of_mean([7.0, 7.0]) == {"mean": 7.0, "low": 7.0, "high": 7.0}
    with pytest.raises(ValueError, match="interval needs"):
        interval_of_mean([])


def test_wide_sample_agrees_with_the_normal_interval():
    """For 400 evenly spread normal quantiles, mean ± 1.96·s/√n is right to a few percent of its width."""
    from scipy.stats import norm

    values = 3 + 2 * norm.ppf((np.arange(400) + 0.5) / 400)
    half = 1.96 * values.std() / 20
    found = bootstrap_interval(values)
    assert found.low == pytest.approx(3 - half, abs=0.06 * half)
    assert found.high == pytest.approx(3 + half, abs=0.06 * half)


def test_coverage_of_a_skewed_mean():
    """300 samples of 60 exponentials: 95 % nominal, three standard errors of the simulation are 3.8 %."""
    rng = np.random.default_rng(1)
    found = [bootstrap_interval(rng.exponential(size=60), resamples=600, seed=i) for i in range(300)]
    assert 0.90 <= coverage(1.0, found) <= 0.985


def test_coverage_follows_confidence():
    rng = np.random.default_rng(2)
    found = [bootstrap_interval(rng.normal(size=50), confidence=0.5, resamples=400, seed=i) for i in range(300)]
    assert 0.41 <= coverage(0.0, found) <= 0.59


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[2.5], [2.5] * 8])
def test_no_spread_gives_no_width(values):
    assert bootstrap_interval(values) == Interval(2.5, 2.5, 2.5)


def test_bca_falls_back_where_it_has_no_answer():
    """The maximum of a sample is never exceeded by a resample: BCa is undefined, the percentiles are not."""
    found = bootstrap_interval(np.arange(30.0), statistic=np.max)
    assert found.mean == 29
    assert 20 < found.low <= found.high == 29


def test_same_seed_same_interval():
    values = np.random.default_rng(3).normal(size=40)
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)


def test_batches_do_not_change_the_spread(monkeypatch):
    values = np.random.default_rng(3).normal(size=(3, 40))
    whole = clustered_interval(values)
    monkeypatch.setattr("burnish.evaluation.statistics._CELLS_AT_ONCE", 4_000)
    parts = clustered_interval(values)
    assert parts.low == pytest.approx(whole.low, abs=0.02)
    assert parts.high == pytest.approx(whole.high, abs=0.02)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")], [[1.0], [2.0]]])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=r"interval needs|dimension"):
        bootstrap_interval(bad)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_is_a_probability(confidence):
    for call in (lambda: bootstrap_interval([1, 2], confidence=confidence), lambda: proportion(1, 2, confidence)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            call()


def test_pairing_cancels_what_items_share():
    """Items differ by hundreds, the two models by 1 on every item: paired, the difference is exactly 1."""
    items = np.random.default_rng(4).normal(scale=300, size=50)
    assert paired_difference(items + 1, items).mean == pytest.approx(1)
    assert paired_difference(items + 1, items).high - 1 < 1e-9


def test_pairs_need_one_length():
    for function in (paired_difference, win_rate, correlation):
        with pytest.raises(ValueError, match=r"the same shape, not \(3,\) and \(2,\)"):
            function([1, 2, 3], [1, 2])


def enumerated(cells: np.ndarray, crossed: bool) -> np.ndarray:
    """All equally likely resamples of a small table, by brute force."""
    runs, prefixes = cells.shape
    means = []
    for chosen in product(range(runs), repeat=runs):
        draws = product(product(range(prefixes), repeat=prefixes), repeat=1 if crossed else runs)
        for draw in draws:
            means.append(np.mean([cells[run, list(draw[0 if crossed else i])] for i, run in enumerate(chosen)]))
    return np.array(means)


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_two_levels_agree_with_enumeration(crossed, confidence):
    """The two ends lie within 2 % of the enumerated quantiles (40,000 resamples put them there with room)."""
    cells = np.array([[0.0, 1.0, 5.0], [2.0, 2.5, 9.0]])
    all_means = np.sort(enumerated(cells, crossed))
    found = clustered_interval(cells, crossed=crossed, confidence=confidence, resamples=40_000)
    tail = (1 - confidence) / 2
    for end, at in ((found.low, tail), (found.high, 1 - tail)):
        assert np.quantile(all_means, at - 0.02) <= end <= np.quantile(all_means, at + 0.02)
    assert found.mean == pytest.approx(19.5 / 6)


def test_one_run_is_the_plain_bootstrap():
    values = np.random.default_rng(5).normal(size=200)
    plain, clustered = bootstrap_interval(values), clustered_interval(values[None])
    width = plain.high - plain.low
    assert clustered.low == pytest.approx(plain.low, abs=0.05 * width)
    assert clustered.high == pytest.approx(plain.high, abs=0.05 * width)


def simulated(rng: np.random.Generator, run: float, prefix: float, shape: tuple[int, int]) -> np.ndarray:
    """Cells with a run effect, an effect of the prefix that all runs share, and noise; the true mean is 0."""
    runs, prefixes = shape
    effects = rng.normal(scale=run, size=(runs, 1)) + rng.normal(scale=prefix, size=(1, prefixes))
    return effects + rng.normal(scale=0.3, size=shape)


def test_crossed_coverage_where_nested_is_too_narrow():
    rng = np.random.default_rng(6)
    tables = [simulated(rng, run=0.02, prefix=1.0, shape=(5, 60)) for _ in range(200)]
    crossed = coverage(0, [clustered_interval(t, resamples=500) for t in tables])
    nested = coverage(0, [clustered_interval(t, crossed=False, resamples=300) for t in tables])
    assert 0.90 <= crossed <= 1
    assert nested < 0.8


def test_coverage_when_runs_differ():
    rng = np.random.default_rng(7)
    tables = [simulated(rng, run=0.3, prefix=0.5, shape=(12, 40)) for _ in range(200)]
    assert coverage(0, [clustered_interval(t, resamples=500) for t in tables]) >= 0.87
    ignored = [bootstrap_interval(t.ravel(), resamples=300) for t in tables]  # what pooling the runs would claim
    assert coverage(0, ignored) < 0.75


def test_win_rate_counts_a_tie_half():
    assert win_scores([2, 1, 3, 4], [1, 2, 3, 0]).tolist() == [1.0, 0.0, 0.5, 1.0]
    assert win_rate([2, 1, 3, 4], [1, 2, 3, 0]).mean == 2.5 / 4
    forth, back = win_rate([1, 2, 3, 3], [0, 0, 5, 3]), win_rate([0, 0, 5, 3], [1, 2, 3, 3])
    assert forth.low == pytest.approx(1 - back.high)
    assert forth.high == pytest.approx(1 - back.low)


def test_wilson_by_hand():
    """k = 8, n = 10, z = 1.959964: (0.8 + 0.1920729)/1.3841459 ± 1.959964·√(0.016 + 0.0096036)/1.3841459."""
    found = proportion(8, 10)
    assert found.mean == 0.8
    assert found.low == pytest.approx(0.490162, abs=2e-6)
    assert found.high == pytest.approx(0.943318, abs=2e-6)


def test_wilson_keeps_a_width_at_the_ends():
    """At k = n the lower end is 1/(1 + z²/n): 10/13.8414588 for n = 10."""
    assert proportion(10, 10).high == 1.0
    assert proportion(10, 10).low == pytest.approx(10 / 13.8414588)
    assert proportion(0, 10).low == 0.0
    assert proportion(0, 10).high == pytest.approx(3.8414588 / 13.8414588)
    assert win_rate([1.0] * 10, [0.0] * 10).low == pytest.approx(10 / 13.8414588)


def test_wilson_coverage():
    counts = np.random.default_rng(8).binomial(60, 0.88, size=2_000)
    assert 0.93 <= coverage(0.88, [proportion(int(k), 60) for k in counts]) <= 0.97


@pytest.mark.parametrize(("k", "n"), [(1, 0), (3, 2), (-1, 4)])
def test_impossible_proportions_are_refused(k, n):
    with pytest.raises(ValueError, match=r"at least one trial|not a proportion"):
        proportion(k, n)


def test_correlation_by_hand():
    """x = 1, 2, 3, 4; y = 1, 3, 2, 4: Σdxdy = 4, Σdx² = Σdy² = 5, so r = 0.8."""
    assert correlation([1, 2, 3, 4], [1, 3, 2, 4]).mean == pytest.approx(0.8)
    exact = correlation([1.0, 2.0, 5.0], [-2.0, -4.0, -10.0])
    assert (exact.mean, exact.low, exact.high) == pytest.approx((-1, -1, -1))


def test_correlation_coverage():
    """r = 0.6 by construction; 300 pairs, 150 repetitions."""
    rng = np.random.default_rng(9)
    found = []
    for i in range(150):
        x = rng.normal(size=300)
        found.append(correlation(x, 0.6 * x + 0.8 * rng.normal(size=300), resamples=300, seed=i))
    assert 0.88 <= coverage(0.6, found) <= 0.995


@pytest.mark.parametrize(("a", "b"), [([1, 2], [3, 4]), ([1, 1, 1], [1, 2, 3])])
def test_correlation_without_an_answer_is_refused(a, b):
    with pytest.raises(ValueError, match="a correlation needs"):
        correlation(a, b)


def test_interval_as_dict_and_text():
    interval = Interval(0.41234, 0.3, 0.52)
    assert interval.as_dict() == {"mean": 0.41234, "low": 0.3, "high": 0.52}
    assert str(interval) == "0.412 [0.3, 0.52]"


def test_an_interval_without_spread_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    """Four runs of 500 and one of 499: the interquartile mean is 500 whichever is left out, and BCa has no answer."""
    found = bootstrap_interval([500, 500, 500, 500, 499.0], lambda x, axis=-1: np.median(x, axis=axis))
    assert (found.mean, found.high) == (500, 500)
    assert len(recwarn) == 0
