"""Intervals over a study's seeds and prefixes, which are refused where there are too few seeds."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from burnish.evaluation.statistics import clustered_interval

FEWEST = 2
"""Seeds: of fewer no interval is given."""

LEVEL = 0.95


def interval_of(cells: Float[np.ndarray, "S P"]) -> dict[str, float | None]:
    """The mean, and its 95 % interval over seeds and prefixes, crossed; no interval of fewer than two seeds."""
    if len(cells) < FEWEST:
        return {"mean": float(cells.mean()), "low": None, "high": None}
    return {**clustered_interval(cells).as_dict()}


def seed_interval(values: Sequence[float]) -> dict[str, float | None]:
    """The mean over seeds, and its 95 % interval by Student's t; no interval of fewer than two seeds.

    A bootstrap of three numbers ends at the smallest and at the largest, between which the true mean lies in three of
    four cases only. This takes them to be of a normal distribution.
    """
    known = np.array(values, dtype=float)
    if len(known) < FEWEST:
        return {"mean": float(known.mean()), "low": None, "high": None}
    from scipy import stats  # here, since its import takes long

    half = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5)
    return {"mean": float(known.mean()), "low": float(known.mean()) - half, "high": float(known.mean()) + half}
