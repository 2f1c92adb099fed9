"""Intervals over a study's seeds and prefixes, which are refused where there are too few seeds."""

import numpy as np
from jaxtyping import Float

from burnish.evaluation.statistics import clustered_interval

FEWEST = 2
"""Seeds: of fewer no interval is given."""


def interval_of(cells: Float[np.ndarray, "S P"]) -> dict[str, float | None]:
    """The mean, and its 95 % interval over seeds and prefixes, crossed; no interval of fewer than two seeds."""
    if len(cells) < FEWEST:
        return {"mean": float(cells.mean()), "low": None, "high": None}
    return {**clustered_interval(cells).as_dict()}
