"""Learning curves of runs on a grid that all of them have, against environment steps or against time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.evaluation.statistics import interval_of_mean

POINTS, LATEST = 40, 20
"""Points of a curve, and the episodes that the return at each of them is the mean of."""
RESAMPLES = 2000
"""Of bootstrap intervals."""


@dataclass(frozen=True)
class Run:
    """Where its episodes ended, in steps or seconds, and what they returned; `far` is where it ended itself."""

    ends: Float[np.ndarray, "E"]
    returns: Float[np.ndarray, "E"]
    far: float

    def at(self, places: Float[np.ndarray, "P"], latest: int = LATEST) -> Float[np.ndarray, "P"]:
        """The mean return of the `latest` episodes that have ended at each of these places; NaN where none has."""
        sums = np.concatenate([[0.0], np.cumsum(self.returns)])
        last = np.searchsorted(self.ends, places, side="right")
        first = np.maximum(last - latest, 0)
        with np.errstate(invalid="ignore"):
            return (sums[last] - sums[first]) / np.where(last > first, last - first, np.nan)

    def reached(self, threshold: float, latest: int = LATEST) -> float | None:
        """Where the mean of its `latest` episodes first is a threshold or more; None where it never is."""
        if len(self.ends) < latest:
            return None
        means = np.convolve(self.returns, np.full(latest, 1 / latest), "valid")
        there = np.flatnonzero(means >= threshold - 1e-9)
        return float(self.ends[there[0] + latest - 1]) if len(there) else None


def timed(ends: Sequence[int | float], clock: Sequence[Sequence[int | float]], column: int) -> Float[np.ndarray, "E"]:
    """When a run had made so many steps, by its clock: rows of steps and times, linear between them."""
    marks = np.array([[0.0, *[0.0] * (len(clock[0]) - 1)], *clock])
    return np.interp(np.array(ends, float), marks[:, 0], marks[:, column])


def grid_of(groups: Sequence[Sequence[Run]]) -> Float[np.ndarray, "P"]:
    """Places from where every run has had an episode to where the first of them ends; none where there are none."""
    runs = [run for group in groups for run in group]
    first, far = max(run.ends[0] for run in runs), min(run.far for run in runs)
    return np.linspace(first, far, POINTS) if far > first else np.array([])


def curve(runs: Sequence[Run], grid: Float[np.ndarray, "P"]) -> list[dict[str, Any]]:
    """The mean over runs at each place, with its interval."""
    values = np.stack([run.at(grid) for run in runs])
    return [{"x": float(x), **interval(column)} for x, column in zip(grid, values.T, strict=True)]


def areas(runs: Sequence[Run], grid: Float[np.ndarray, "P"]) -> Float[np.ndarray, "R"]:
    """The mean of each run's curve over the grid: the area under it, as a return."""
    values = np.stack([run.at(grid) for run in runs])
    return np.trapezoid(values, grid, axis=1) / (grid[-1] - grid[0])


def interval(values: Sequence[int | float] | Float[np.ndarray, "R"]) -> dict[str, float | None]:
    """The mean over runs and its 95 % bootstrap interval; no interval of fewer than two runs."""
    return interval_of_mean(values, resamples=RESAMPLES)
