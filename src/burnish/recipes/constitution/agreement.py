"""A judge's agreement with the labels that the data have, by how far apart people find the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.data import builtin
from burnish.evaluation.reward_models import accuracy, accuracy_by_gap
from burnish.recipes.constitution.labels import Judged
from burnish.recipes.evaluate.reward import GAP_BINS, bins_for, raters_in
from burnish.recipes.label.pairs import BUILTIN


def agreement(found: Sequence[Judged]) -> dict[str, Any] | None:
    """How often the judge prefers the answer that the data prefer, also by the gap between the raters' means where the
    data tell them, and on built-in data how often the rater behind a label agrees with the others.

    None for data without labels. A pair that the judge is undecided about counts half.
    """
    known = [one for one in found if one.choices[0].pair.preferred]
    if not known:
        return None
    told: dict[str, Any] = {"judge": counted(np.array([one.better - 0.5 for one in known]))}
    rated = [(one, gap) for one in known if (gap := one.choices[0].pair.gap) is not None]
    if not rated:
        return told
    margins, gaps = np.array([one.better - 0.5 for one, _ in rated]), np.array([gap for _, gap in rated])
    bins = accuracy_by_gap(margins, gaps, bins_for(len(rated), GAP_BINS))
    told["judge_by_gap"] = [asdict(one) for one in bins]
    rows = [pair.row for one, _ in rated if (pair := one.choices[0].pair).source == BUILTIN]
    outcomes = builtin.rater_outcomes("held_out") if rows else []
    if agreed := [one for row in rows if (one := outcomes[row]) is not None]:
        told["people"] = counted(np.where(agreed, 1.0, -1.0))
        told["people_by_gap"] = [asdict(one) for one in raters_in(bins, rows)]
    return told


def counted(margins: Float[np.ndarray, "N"]) -> dict[str, float]:
    """The share that the margins agree with, and of how many."""
    return accuracy(margins).as_dict() | {"n": len(margins)}


def sentences(told: Mapping[str, Any]) -> list[str]:
    """The agreement in words, and as a table."""
    beside = f"; one rater agrees with the others on {shown(told['people'])}" if "people" in told else ""
    lines = [f"the judge prefers the answer that the data prefer in {shown(told['judge'])} of the pairs{beside}"]
    people = {one["low"]: one["agreement"] for one in told.get("people_by_gap", [])}
    for one in told.get("judge_by_gap", []):
        rater = f"; one rater {shown(people[one['low']])}" if one["low"] in people else ""
        where = f"where the raters' means are {one['low']:.2f} to {one['high']:.2f} apart ({one['count']:,} pairs)"
        lines.append(f"{where}: the judge {shown(one['agreement'])}{rater}")
    return lines


def shown(interval: Mapping[str, float]) -> str:
    """A share with its interval, in percent."""
    return f"{interval['mean']:.1%} [{interval['low']:.1%}, {interval['high']:.1%}]"
