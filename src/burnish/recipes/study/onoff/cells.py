"""The study's cells: one training each, of one run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from burnish.evaluation.returns import label as name_of
from burnish.recipes.study.cell import Found
from burnish.recipes.study.onoff.control import efficiency, late, weights
from burnish.recipes.study.onoff.language import late_completions, weights_of_completions
from burnish.recipes.study.onoff.plan import CARTPOLE, CORRECTIONS, LANGUAGE, TASKS, Plan

EFFICIENCY, WEIGHTS, LATE = "efficiency", "weights", "late"
FRESH = "none"
"""The correction of a training without lag, which needs none."""


@dataclass(frozen=True)
class Cell:
    """A run of a part of the study: of an algorithm's efficiency, of weights, or of late data with a correction.

    `what` is the algorithm or the correction.
    """

    part: str
    task: str
    run: int
    what: str = FRESH
    lag: int = 0

    @property
    def name(self) -> str:
        own = {EFFICIENCY: f"-{self.what}", WEIGHTS: "", LATE: f"-{self.lag}-{self.what}"}[self.part]
        return f"{self.part}-{self.task}{own}/run-{self.run}"

    @property
    def label(self) -> str:
        """Its name for readers: PPO on CartPole, run 3."""
        if self.part == EFFICIENCY:
            return f"{name_of(self.what)} on {TASKS[self.task]}, run {self.run}"
        if self.part == WEIGHTS:
            return f"weights in {TASKS[self.task]}, run {self.run}"
        how = f", {CORRECTIONS[self.what].lower()}" if self.lag else ""  # type: ignore[index]
        return f"{TASKS[self.task]}, {self.lag} turns late{how}, run {self.run}"


@dataclass(frozen=True)
class OnOff:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        language = cell.task == LANGUAGE
        if cell.part == EFFICIENCY:
            return efficiency(self.plan, cell.task, cell.what, cell.run, work)
        if cell.part == WEIGHTS:
            return (weights_of_completions if language else weights)(self.plan, cell.run, work)
        return (late_completions if language else late)(self.plan, cell.run, cell.lag, cell.what, work)

    def is_whole(self, cell: Cell, found: Found) -> bool:
        if found.get("what") != cell.what or found.get("lag") != cell.lag:
            return False
        keys = {
            EFFICIENCY: ("value", "failed", "ends", "returns", "clock"),
            WEIGHTS: ("rows",),
            LATE: ("value", "failed"),
        }
        return all(key in found for key in keys[cell.part])

    def line(self, cell: Cell, found: Found) -> str:
        if cell.part == WEIGHTS:
            return f"{len(found['rows'])} measurements of weights"
        if found["failed"] is not None:
            return f"its training failed: {found['failed']}"
        return f"{found['value']:.4g} at the end"


def every_cell(plan: Plan) -> Iterator[Cell]:
    """All cells, run by run, so that a part of the study is one with fewer runs."""
    for run in range(max(plan.runs, plan.language_runs)):
        if run < plan.runs:
            yield from (Cell(EFFICIENCY, task, run, what) for task, names in plan.learners.items() for what in names)
        for task in (CARTPOLE, LANGUAGE):
            if run < plan.runs_of(task):
                yield Cell(WEIGHTS, task, run)
                yield from (Cell(LATE, task, run, what, lag) for lag, what in late_settings(plan, task))


def late_settings(plan: Plan, task: str) -> list[tuple[int, str]]:
    """Each lag with each correction; without a lag there is nothing to correct."""
    corrections = [str(one) for one in CORRECTIONS]
    return [(lag, what) for lag in plan.lags_of(task) for what in (corrections if lag else [FRESH])]
