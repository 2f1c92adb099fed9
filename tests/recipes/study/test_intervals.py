"""Intervals of two seeds are those of the crossed bootstrap; of one there are none."""

import numpy as np
import pytest

from burnish.evaluation.statistics import clustered_interval
from burnish.recipes.study.intervals import interval_of, seed_interval


def test_intervals_need_two_seeds() -> None:
    cells = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 4.0]])
    assert interval_of(cells) == pytest.approx(clustered_interval(cells).as_dict())
    assert interval_of(cells[:1]) == {"mean": 1.0, "low": None, "high": None}


def test_an_interval_over_seeds_by_hand() -> None:
    """Of 1, 2 and 3 the standard error is 1/√3, and of two degrees of freedom t is 4.3027."""
    found = seed_interval([1.0, 2.0, 3.0])
    assert [found[key] for key in ("mean", "low", "high")] == pytest.approx([2.0, 2 - 2.4841, 2 + 2.4841], abs=1e-4)
    assert seed_interval([5.0]) == {"mean": 5.0, "low": None, "high": None}
