"""Intervals of two seeds are those of the crossed bootstrap; of one there are none."""

import numpy as np
import pytest

from burnish.evaluation.statistics import clustered_interval
from burnish.recipes.study.intervals import interval_of


def test_intervals_need_two_seeds() -> None:
    cells = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 4.0]])
    assert interval_of(cells) == pytest.approx(clustered_interval(cells).as_dict())
    assert interval_of(cells[:1]) == {"mean": 1.0, "low": None, "high": None}
