"""A judge's agreement with the labels that the data have, by how far apart people find the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.data import builtin
from burnish.evaluation.reward_models import agreement_by_gap, rebinned
from burnish.evaluation.statistics import proportion
from burnish.recipes.constitution.labels import Judged
from burnish.recipes.evaluate.reward import GAP_BINS, bins_for, raters_in
from burnish.recipes.label.pairs import BUILTIN

GRADES = (0.5, 1.5, 2.5)
"""The edges between mean strengths that are next to 0, 1, 2 and 3."""


def agreement(found: Sequence[Judged]) -> dict[str, Any] | None:
    """How often the judge prefers what a rater does, the comparisons' chosen answer or that of a vote: the mean over
    pairs of the mean over raters, where a tie and a judge that is undecided count half. Also by the gap between the
    raters' means, and by how much better people find an answer, where the data tell them.

    Beside it stands how often people agree: two raters of a pair, or on built-in data the rater behind a label with the
    others. None for data without labels.
    """
    known = [one for one in found if one.pair.votes]
    if not known:
        return None
    told: dict[str, Any] = {"judge": counted(scores(known))}
    several = [one for one in known if len(one.pair.votes) > 1]
    if several:
        told["people"] = counted(np.array([between(one.pair.votes) for one in several]))
    return told | _by_gap(known) | _by_strength(known)


def _by_gap(known: Sequence[Judged]) -> dict[str, Any]:
    rated = [one for one in known if one.pair.gap is not None]
    if not rated:
        return {}
    gaps = np.array([one.pair.gap for one in rated])
    bins = agreement_by_gap(scores(rated), gaps, bins_for(len(rated), GAP_BINS))
    told: dict[str, Any] = {"judge_by_gap": [asdict(one) for one in bins]}
    rows = [one.pair.row for one in rated if one.pair.source == BUILTIN]
    outcomes = builtin.rater_outcomes("held_out") if rows else []
    if agreed := [float(one) for row in rows if (one := outcomes[row]) is not None]:
        told["people"] = counted(np.array(agreed))
        told["people_by_gap"] = [asdict(one) for one in raters_in(bins, rows)]
    return told


def _by_strength(known: Sequence[Judged]) -> dict[str, Any]:
    graded = [one for one in known if one.pair.strength is not None]
    if not graded:
        return {}
    bins = agreement_by_gap(scores(graded), np.array([one.pair.strength for one in graded]), GRADES)
    several = [one.pair for one in graded if len(one.pair.votes) > 1]
    people = np.array([between(one.votes) for one in several]), np.array([one.strength for one in several], dtype=float)
    found = {"judge_by_strength": [asdict(one) for one in bins]}
    return found | ({"people_by_strength": [asdict(one) for one in rebinned(bins, *people)]} if several else {})


def scores(found: Sequence[Judged]) -> Float[np.ndarray, "N"]:
    """The share of each pair's raters whom the judge agrees with; half of them where it is undecided."""
    shares, better = np.array([np.mean(one.pair.votes) for one in found]), np.array([one.better for one in found])
    return np.where(better > 0.5, shares, np.where(better < 0.5, 1 - shares, 0.5))


def between(votes: Sequence[float]) -> float:
    """How often two of a pair's raters prefer the same answer, a tie counting half: the mean over all two raters."""
    return float(np.mean([one * other + (1 - one) * (1 - other) for one, other in combinations(votes, 2)]))


def counted(agreed: Float[np.ndarray, "N"]) -> dict[str, float]:
    """The share that is agreed on, and of how many pairs."""
    return proportion(float(agreed.sum()), len(agreed)).as_dict() | {"n": len(agreed)}


def sentences(told: Mapping[str, Any]) -> list[str]:
    """The agreement in words, and as a table."""
    judge, people = f"{shown(told['judge'])} of the pairs", shown(told["people"]) if "people" in told else ""
    lines = [f"the judge prefers the answer that the data prefer in {judge}"]
    if "people_by_gap" in told:
        lines[0] += f"; one rater agrees with the others on {people}"
    elif people:
        lines = [f"the judge agrees with a rater on {judge}; two raters agree on {people}"]
    for key, where, rater in (
        ("gap", "where the raters' means are {:.2f} to {:.2f} apart", "one rater"),
        ("strength", "where people find an answer better by {:.2f} to {:.2f} of 3", "two raters"),
    ):
        others = {one["low"]: one["agreement"] for one in told.get(f"people_by_{key}", [])}
        for one in told.get(f"judge_by_{key}", []):
            other = f"; {rater} {shown(others[one['low']])}" if one["low"] in others else ""
            place = where.format(one["low"], one["high"])
            lines.append(f"{place} ({one['count']:,} pairs): the judge {shown(one['agreement'])}{other}")
    return lines


def shown(interval: Mapping[str, float]) -> str:
    """A share with its interval, in percent."""
    return f"{interval['mean']:.1%} [{interval['low']:.1%}, {interval['high']:.1%}]"
