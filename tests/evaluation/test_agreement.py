"""Agreement of raters: κ, α and the ceiling worked by hand and by nested loops."""

from itertools import permutations

import numpy as np
import pytest

from burnish.data.labels import Tally, Vote, tallies
from burnish.evaluation.agreement import (
    agreeing,
    agreement,
    alpha,
    alpha_interval,
    ceiling,
    kappa,
    kappa_interval,
    split,
)


def votes(*verdicts: str, showing: int = 0, left: str = "a") -> list[Vote]:
    """One rater's verdicts on pairs 0, 1, 2 … as `rater:abt-…`: b bad is x, a skip -, an unseen pair a space."""
    words = {"a": "a", "b": "b", "t": "tie", "x": "bad", "-": "skip"}
    found = []
    for text in verdicts:
        rater, _, said = text.partition(":")
        found += [
            Vote(0, f"pair {i}", rater, showing, words[one], left=left, seconds=float(i))
            for i, one in enumerate(said)
            if one != " "
        ]
    return found


def tallied(*verdicts: str) -> list[Tally]:
    return tallies(votes(*verdicts))


def test_kappa() -> None:
    """20 and 15 of 50 equal: p_o = 0.7. Shares ½ and ½ down, 0.6 and 0.4 across: p_e = ½. κ = 0.2 / 0.5.

    With three verdicts: p_o = 8/10, p_e = (3·2 + 2·4 + 5·4)/100 = 0.34, κ = 0.46/0.66.
    """
    assert kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4)
    three = np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 1.0, 4.0]])
    assert kappa(three) == pytest.approx(0.46 / 0.66)
    assert np.isnan(kappa(np.array([[3.0, 0.0], [0.0, 0.0]])))
    both = kappa(np.stack([np.diag([1.0, 1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])]))
    assert both.tolist() == [1.0, -1.0]


def test_kappas_interval_is_a_bootstrap_over_pairs() -> None:
    """Of two pairs, one a a and one b b, half of the resamples lack a value and have no κ; the others have 1.

    For 50 pairs the standard error of κ is √(p_o(1 − p_o)/n)/(1 − p_e) = 0.13 (Cohen 1960, eq. 7): 0.4 ± 0.25.
    """
    assert kappa_interval(np.diag([1.0, 1.0])) is not None
    found = kappa_interval(np.diag([1.0, 1.0]))
    assert found is not None
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
    wide = kappa_interval(np.array([[20.0, 5.0], [10.0, 15.0]]))
    assert wide is not None
    assert wide.low == pytest.approx(0.4 - 1.96 * 0.1296, abs=0.04)
    assert wide.high == pytest.approx(0.4 + 1.96 * 0.1296, abs=0.04)
    assert kappa_interval(np.diag([3.0, 0.0])) is None


def alpha_by_loops(units: list[list[int]]) -> float:
    """1 − D_o/D_e with every ordered pair of values looked at."""
    used = [unit for unit in units if len(unit) > 1]
    values = [value for unit in used for value in unit]
    apart = sum(sum(x != y for x, y in permutations(unit, 2)) / (len(unit) - 1) for unit in used) / len(values)
    expected = sum(x != y for x, y in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - apart / expected


def test_alpha() -> None:
    """Units aa, ab, bbb and a lone a: n = 7, D_o's sum is 2, and 7² − 3² − 4² = 24, so α = 1 − 6·2/24 = ½."""
    counts = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    assert alpha(counts) == pytest.approx(0.5)
    random = np.random.default_rng(0)
    units = [random.integers(0, 4, size).tolist() for size in random.integers(0, 5, 30)]
    table = np.array([[unit.count(value) for value in range(4)] for unit in units], dtype=float)
    assert alpha(table) == pytest.approx(alpha_by_loops(units))
    twice = alpha(table, np.full(30, 2.0))
    assert twice == pytest.approx(alpha_by_loops(units * 2))
    assert np.isnan(alpha(np.array([[2.0, 0.0]])))


def test_alphas_interval_is_a_bootstrap_over_units() -> None:
    """The quantiles of α over resamples of units, drawn one by one here."""
    random = np.random.default_rng(1)
    units = [random.choice(3, 3, p=(0.6, 0.3, 0.1)).tolist() for _ in range(40)]
    table = np.array([[unit.count(value) for value in range(3)] for unit in units], dtype=float)
    found = alpha_interval(table)
    drawn = [alpha_by_loops([units[i] for i in random.integers(0, 40, 40)]) for _ in range(400)]
    assert found is not None
    assert found.mean == pytest.approx(alpha_by_loops(units))
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)).tolist(), abs=0.06)
    assert alpha_interval(np.array([[1.0, 0.0]])) is None
    assert alpha_interval(np.array([[2.0, 0.0]])) is None


def test_two_raters() -> None:
    """Pairs a/a, b/b, a/b, tie/tie, skipped/a, bad/bad: five count and four are equal."""
    found = agreement(tallied("anna:abat-x", "ben:abbtax"))
    (one,) = found["between"]
    assert (one["raters"], one["pairs"], one["raw"]["mean"]) == (["anna", "ben"], 5, 0.8)
    assert one["kappa"]["mean"] == pytest.approx((0.8 - (2 * 1 + 1 * 2 + 1 + 1) / 25) / (1 - 6 / 25))
    assert (found["pairs"], found["votes"], found["alpha"]["pairs"]) == (6, 12, 5)
    assert found["raters"]["anna"]["verdicts"] == {"a": 2, "b": 1, "tie": 1, "bad": 1, "skip": 1}
    assert found["raters"]["anna"]["seconds"] == {"low": 1.25, "median": 2.5, "high": 3.75}
    assert found["all"]["left"]["mean"] == pytest.approx(4 / 7)  # anna's 2 of 3, ben's 2 of 4
    assert agreeing([("skip", "a")]) is None


def test_a_rater_with_themselves() -> None:
    both = votes("anna:abx-t") + votes("anna:aax", "ben:a", showing=1)
    found = agreement(tallies(both))
    assert found["raters"]["anna"]["self"]["pairs"] == 3
    assert found["raters"]["anna"]["self"]["raw"]["mean"] == pytest.approx(2 / 3)
    assert found["raters"]["ben"]["self"] is None
    assert found["between"] == []  # ben has no first showing
    assert found["ceiling"]["by"] == "showings"
    assert found["ceiling"]["agreement"]["mean"] == 0.5  # of a/a and b/a


def test_the_ceiling() -> None:
    """Equal on 3 of 4 decided pairs: q = ¾, and ½·(1 + √½) = 0.8536. Ties and bad pairs are not decided."""
    found = ceiling(tallied("anna:abab", "ben:abaatx"))
    assert found is not None
    assert (found["by"], found["pairs"], found["agreement"]["mean"]) == ("raters", 4, 0.75)
    assert found["upper"]["mean"] == pytest.approx(0.853553, abs=1e-6)
    assert ceiling(tallied("anna:abab")) is None
    three = ceiling(tallied("anna:a", "ben:a", "cem:b"))  # one of three twos is equal
    assert three is not None
    assert three["agreement"]["mean"] == pytest.approx(1 / 3)
    assert three["upper"]["mean"] == 0.5


def test_the_best_model_lies_between_the_bounds() -> None:
    """q ≤ E max(p, 1 − p) ≤ ½·(1 + √(2q − 1)) for any distribution of p, and the upper bound is met where p is one."""
    random = np.random.default_rng(2)
    for _ in range(50):
        p = random.beta(*random.uniform(0.2, 5, 2), size=20)
        q, best = (p**2 + (1 - p) ** 2).mean(), np.maximum(p, 1 - p).mean()
        assert q <= best <= 0.5 * (1 + np.sqrt(2 * q - 1)) + 1e-12
    assert 0.5 * (1 + np.sqrt(2 * (0.8**2 + 0.2**2) - 1)) == pytest.approx(0.8)


def test_disputed_pairs() -> None:
    one, two, three = tallied("anna:aa-", "ben:ab-", "cem:ata")
    assert [split(pair) for pair in (one, two, three)] == [0.0, 1.0, 0.0]
    assert split(tallied("anna:a", "ben:a", "cem:b")[0]) == pytest.approx(2 / 3)
