"""Learning curves by hand."""

import numpy as np
import pytest

from burnish.recipes.study.onoff.curves import Run, areas, curve, grid_of, interval, timed

ONE = Run(np.array([10.0, 20, 40]), np.array([1.0, 3, 8]), 50.0)
OTHER = Run(np.array([20.0, 30]), np.array([5.0, 7]), 40.0)


def test_the_latest_episodes_at_a_place() -> None:
    found = ONE.at(np.array([9.0, 10, 19, 20, 39.9, 40, 99]), latest=2)
    np.testing.assert_array_equal(found, [np.nan, 1, 1, 2, 2, 5.5, 5.5])


def test_where_a_threshold_is_reached() -> None:
    """The means of two episodes are 2 and 5.5."""
    assert [ONE.reached(height, latest=2) for height in (2.0, 2.1, 5.6)] == [20.0, 40.0, None]
    assert ONE.reached(0.0, latest=4) is None  # There are not so many.


def test_times_are_between_the_marks_of_the_clock() -> None:
    """100 steps took 2 CPU seconds, the next 100 took 6."""
    clock = [[100, 2.0, 3.0], [200, 8.0, 10.0]]
    np.testing.assert_allclose(timed([50, 100, 150], clock, 1), [1, 2, 5])
    np.testing.assert_allclose(timed([50, 100, 150], clock, 2), [1.5, 3, 6.5])


def test_the_grid_is_where_all_runs_have_a_curve() -> None:
    grid = grid_of([[ONE], [OTHER]])
    assert (grid[0], grid[-1]) == (20.0, 40.0)
    assert not len(grid_of([[ONE], [Run(np.array([60.0]), np.array([1.0]), 70.0)]]))


def test_a_curve_has_means_over_runs_and_their_interval() -> None:
    (point,) = curve([ONE, OTHER], np.array([25.0]))
    assert (point["x"], point["mean"]) == (25.0, 3.5)  # 2 and 5
    assert 2 <= point["low"] <= point["high"] <= 5
    assert curve([ONE], np.array([25.0])) == [{"x": 25.0, "mean": 2.0, "low": None, "high": None}]


def test_areas_by_hand() -> None:
    """OTHER is 5 from 20 to below 30, and then 6: on places 20, 25 and 35, trapeziums of 5·5 and 10·5.5 over 15."""
    assert areas([OTHER], np.array([20.0, 25, 35])) == pytest.approx([80 / 15])


def test_fewer_than_two_runs_have_no_interval() -> None:
    assert interval([3.0]) == {"mean": 3.0, "low": None, "high": None}
    assert interval([3.0, 3.0]) == {"mean": 3.0, "low": 3.0, "high": 3.0}
