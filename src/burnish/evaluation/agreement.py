"""How far people agree who compare answers: with themselves, with each other, and what that means for a reward model.

A verdict is nominal, one of *a is better*, *b is better*, *about the same* and *both bad*; skipped pairs count nowhere.
Between raters the first showing of a pair counts. All intervals are 95 %.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from burnish.data.labels import BAD, SKIP, TIE, VERDICTS, A, B, Tally, Vote
from burnish.evaluation.statistics import Interval, bootstrap_interval, proportion

CATEGORIES = (A, B, TIE, BAD)
RESAMPLES = 10_000


def agreement(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Everything about the votes in `tallies`, in the form that the page of `burnish agreement` shows."""
    votes = [vote for one in tallies for vote in one.votes]
    raters = sorted({vote.rater for vote in votes})
    first = [{vote.rater: vote.verdict for vote in one.votes if vote.showing == 0} for one in tallies]
    between = []
    for x, y in combinations(raters, 2):
        both = [(one[x], one[y]) for one in first if x in one and y in one]
        if found := agreeing(both):
            between.append({"raters": [x, y]} | found)
    counts = np.array([[list(one.values()).count(c) for c in CATEGORIES] for one in first], dtype=float)
    value = alpha_interval(counts) if len(first) else None
    return {
        "pairs": len(tallies),
        "votes": len(votes),
        "raters": {rater: of_rater([one for one in votes if one.rater == rater]) for rater in raters},
        "all": of_rater(votes) | {"self": None},
        "between": between,
        "alpha": {"pairs": int((counts.sum(-1) >= 2).sum()) if len(first) else 0, "value": value and value.as_dict()},
        "ceiling": ceiling(tallies),
    }


def of_rater(votes: Sequence[Vote]) -> dict[str, Any]:
    """Numbers of verdicts, share of left ones, seconds, and agreement of second showings with first ones."""
    verdicts = [vote.verdict for vote in votes]
    seconds = [vote.seconds for vote in votes if vote.seconds is not None]
    shown: dict[tuple[str, str], dict[int, str]] = {}
    for vote in votes:
        shown.setdefault((vote.rater, vote.pair), {})[vote.showing] = vote.verdict
    twice = [(one[0], one[1]) for one in shown.values() if 0 in one and 1 in one]
    quartiles = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist() if seconds else None
    left = left_share(votes)
    return {
        "votes": len(votes),
        "verdicts": {verdict: verdicts.count(verdict) for verdict in VERDICTS},
        "left": left and left.as_dict(),
        "seconds": quartiles and dict(zip(("low", "median", "high"), quartiles, strict=True)),
        "self": agreeing(twice),
    }


def left_share(votes: Sequence[Vote]) -> Interval | None:
    """How often the answer on the left is called better, of the votes for one of both: ½ without a position bias."""
    sides = [vote.left == vote.verdict for vote in votes if vote.left is not None and vote.verdict in (A, B)]
    return proportion(sum(sides), len(sides)) if sides else None


def agreeing(verdicts: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """The number of pairs with two verdicts, the share of equal ones (Wilson's interval), and Cohen's κ, None with
    one pair."""
    both = [pair for pair in verdicts if SKIP not in pair]
    if not both:
        return None
    table = np.zeros((len(CATEGORIES), len(CATEGORIES)))
    for x, y in both:
        table[CATEGORIES.index(x), CATEGORIES.index(y)] += 1
    chance = kappa_interval(table) if len(both) > 1 else None
    raw = proportion(float(np.trace(table)), len(both))
    return {"pairs": len(both), "raw": raw.as_dict(), "kappa": chance and chance.as_dict()}


def kappa(table: Float[ndarray, "... K K"]) -> Float[ndarray, "..."]:
    """Cohen's κ = (p_o − p_e) / (1 − p_e) of tables of counts, one rater's verdicts down and the other's across.

    p_o is the share of equal verdicts and p_e what it would be if both raters kept their shares of verdicts and chose
    at random; NaN where p_e is 1.

    Cohen (1960), "A Coefficient of Agreement for Nominal Scales".
    """
    total = table.sum((-2, -1))
    observed = np.trace(table, axis1=-2, axis2=-1) / total
    expected = (table.sum(-1) * table.sum(-2)).sum(-1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def kappa_interval(table: Float[ndarray, "K K"], resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """κ with a percentile bootstrap over the pairs in a table of counts; None where κ is not defined.

    Resamples in which it is not defined are left out.
    """
    count = int(table.sum())
    drawn = np.random.default_rng(seed).multinomial(count, table.ravel() / count, size=resamples)
    return _interval(float(kappa(table)), kappa(drawn.reshape(-1, *table.shape).astype(float)))


def alpha(counts: Float[ndarray, "units K"], weights: Float[ndarray, "... units"] | None = None) -> Any:
    """Krippendorff's α = 1 − D_o/D_e for nominal values; `counts[u, c]` raters gave unit u the value c.

    With m_u values of unit u, n_c of value c and n of all, among units with two or more values:
    α = 1 − (n − 1)·Σ_u (m_u² − Σ_c counts²) / (m_u − 1) / (n² − Σ_c n_c²). Units may have different raters. `weights`
    are how often each unit counts, once by default. NaN where all values are equal.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability".
    """
    used = counts[counts.sum(-1) >= 2]
    weights = np.ones(len(used)) if weights is None else weights[..., counts.sum(-1) >= 2]
    values = used.sum(-1)
    apart = (values**2 - (used**2).sum(-1)) / (values - 1)
    by_value = weights @ used
    total = by_value.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = total**2 - (by_value**2).sum(-1)
        return np.where(expected > 0, 1 - (total - 1) * (weights @ apart) / expected, np.nan)


def alpha_interval(counts: Float[ndarray, "units K"], resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """α with a percentile bootstrap over units; None where α is not defined."""
    units, often = np.unique(counts[counts.sum(-1) >= 2], axis=0, return_counts=True)
    if not len(units):
        return None
    total = int(often.sum())
    drawn = np.random.default_rng(seed).multinomial(total, often / total, size=resamples)
    return _interval(float(alpha(units, often.astype(float))), alpha(units, drawn.astype(float)))


def ceiling(tallies: Sequence[Tally]) -> dict[str, Any] | None:
    """Between which bounds lies the accuracy of the best reward model on one rater's verdicts; None without two votes.

    Of a pair that a share p of people decide for a, two people agree with probability p² + (1 − p)² and the best model
    is right with max(p, 1 − p). With q the mean of the former over pairs, the mean of the latter lies between q and
    ½·(1 + √(2q − 1)): |2p − 1| is at least its square, and its mean at most the root of its mean square. q is the mean
    over pairs of the share of equal verdicts among all two raters who decided; where no pair has two, among the
    showings of one rater. Ties and bad pairs are left out.
    """
    by = "raters"
    shares = [share for one in tallies if (share := _equal(one, between=True)) is not None]
    if not shares:
        by = "showings"
        shares = [share for one in tallies if (share := _equal(one, between=False)) is not None]
    if not shares:
        return None
    values = np.array(shares)
    mean = float(values.mean())
    same = proportion(float(values.sum()), len(values)) if mean in (0.0, 1.0) else bootstrap_interval(values)
    highest = [0.5 * (1 + max(0.0, 2 * q - 1) ** 0.5) for q in (same.mean, same.low, same.high)]
    upper = Interval(*highest)
    return {"by": by, "pairs": len(shares), "agreement": same.as_dict(), "upper": upper.as_dict()}


def split(one: Tally) -> float:
    """The share of unequal verdicts among all two raters of a pair, on its first showing; 0 with fewer than two."""
    found = [vote.verdict for vote in one.votes if vote.showing == 0 and vote.verdict != SKIP]
    unequal = [x != y for x, y in combinations(found, 2)]
    return sum(unequal) / len(unequal) if unequal else 0.0


def _equal(one: Tally, between: bool) -> float | None:
    """The share of equal decisions for a or b: between raters on the first showing, or of a rater on two showings."""
    decided = [vote for vote in one.votes if vote.verdict in (A, B) and (vote.showing == 0 or not between)]
    both = [x.verdict == y.verdict for x, y in combinations(decided, 2) if (x.rater != y.rater) == between]
    return sum(both) / len(both) if both else None


def _interval(value: float, drawn: Float[ndarray, "N"]) -> Interval | None:
    if np.isnan(value):
        return None
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Interval(value, float(low), float(high))
