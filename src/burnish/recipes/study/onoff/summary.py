"""The study's numbers: learning curves, the spread of weights, and returns on late data, with intervals over runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.evaluation.returns import label
from burnish.recipes.study.cell import Found
from burnish.recipes.study.onoff.cells import EFFICIENCY, FRESH, LATE, WEIGHTS, Cell, every_cell, late_settings
from burnish.recipes.study.onoff.curves import Run, areas, curve, grid_of, interval, timed
from burnish.recipes.study.onoff.plan import CARTPOLE, CORRECTIONS, LANGUAGE, TASKS, THRESHOLDS, Plan

AXES = {"steps": 0, "seconds": 1}
"""What learning curves are drawn against, and its column of a run's clock."""
SPREADS = ("ess", "share", "log_largest", "log_variance")
Every = Mapping[Cell, Found]


def summarise(plan: Plan, found: Every, failures: Mapping[str, str], command: str | None) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures` or `missing`."""
    broken = [(cell, one["failed"]) for cell, one in found.items() if one.get("failed") is not None]
    return {
        "plan": asdict(plan),
        "tasks": TASKS,
        "labels": {name: label(name) for names in plan.learners.values() for name in names},
        "corrections": dict(CORRECTIONS),
        "efficiency": [one for task in plan.learners if (one := efficiency_of(plan, found, task)) is not None],
        "weights": [row for task in (CARTPOLE, LANGUAGE) for row in weight_rows(plan, found, task)],
        "late": [row for task in (CARTPOLE, LANGUAGE) for row in late_rows(plan, found, task)],
        "broken": [{"label": cell.label, "reason": reason} for cell, reason in broken],
        "missing": [cell.label for cell in every_cell(plan) if cell not in found and cell.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def efficiency_of(plan: Plan, found: Every, task: str) -> dict[str, Any] | None:
    """The curves of an environment's algorithms, and how they differ where all have one; None before there is one."""
    cells = {name: of_runs(plan, found, EFFICIENCY, task, name) for name in plan.learners[task]}
    cells = {name: by_run for name, by_run in cells.items() if by_run}
    if not cells:
        return None
    runs = {
        axis: {name: {i: run_of(one, axis) for i, one in by_run.items()} for name, by_run in cells.items()}
        for axis in AXES
    }
    grids = {axis: grid_of([[*by_run.values()] for by_run in named.values()]) for axis, named in runs.items()}
    return {
        "task": task,
        "curves": {
            axis: {name: curve([*own.values()], grid_of([[*own.values()]])) for name, own in named.items()}
            for axis, named in runs.items()
        },
        "learners": [learner_row(task, name, by_run, runs["steps"][name]) for name, by_run in cells.items()],
        "differences": [
            {"name": name, "axis": axis, "far": float(grids[axis][-1]), "difference": one}
            for axis, named in runs.items()
            if len(grids[axis])
            for name in plan.learners[task][1:]
            if (one := apart(named, name, plan.learners[task][0], grids[axis])) is not None
        ],
    }


def of_runs(plan: Plan, found: Every, part: str, task: str, what: str = FRESH, lag: int = 0) -> dict[int, Found]:
    """What was found of each run of a setting that did not fail."""
    cells = {run: found.get(Cell(part, task, run, what, lag)) for run in range(plan.runs_of(task))}
    return {run: one for run, one in cells.items() if one is not None and one.get("failed") is None}


def run_of(one: Found, axis: str) -> Run:
    """A run's episodes against steps, or against its CPU seconds."""
    ends, column = np.array(one["ends"], float), AXES[axis]
    last = one["clock"][-1][column]
    return Run(
        timed(one["ends"], one["clock"], column) if column else ends, np.array(one["returns"], float), float(last)
    )


def learner_row(task: str, name: str, by_run: Mapping[int, Found], runs: Mapping[int, Run]) -> dict[str, Any]:
    """An algorithm's return at the end, when it reaches the threshold, and its time."""
    reached = [run.reached(THRESHOLDS[task]) for run in runs.values()]
    there = sorted(one for one in reached if one is not None)
    return {
        "name": name,
        "runs": len(runs),
        "end": interval([one["value"] for one in by_run.values()]),
        "threshold": THRESHOLDS[task],
        "reached": len(there),
        "median": float(np.median(there)) if there else None,
        "seconds": interval([one["seconds"] for one in by_run.values()]),
    }


def apart(
    named: Mapping[str, Mapping[int, Run]], name: str, base: str, grid: np.ndarray
) -> dict[str, float | None] | None:
    """The mean return over the grid of one algorithm minus another's, paired by run."""
    if name not in named or base not in named:
        return None
    both = sorted(set(named[name]) & set(named[base]))
    if not both:
        return None
    mine, other = ([named[one][run] for run in both] for one in (name, base))
    return interval(areas(mine, grid) - areas(other, grid))


def weight_rows(plan: Plan, found: Every, task: str) -> list[dict[str, Any]]:
    """A row per lag and number of actions: each measure's mean over a run's anchors, and over runs."""
    by_run = of_runs(plan, found, WEIGHTS, task)
    rows = []
    for lag in plan.lags:
        for count in plan.counts_of(task):
            own = [
                [row for row in one["rows"] if (row["lag"], row["count"]) == (lag, count)] for one in by_run.values()
            ]
            own = [some for some in own if some]
            if not own:
                continue
            means = {name: [float(np.mean([row[name] for row in some])) for some in own] for name in SPREADS}
            length = float(np.mean([row["length"] for some in own for row in some]))
            row = {"task": task, "lag": lag, "count": count, "runs": len(own), "length": length}
            rows.append(row | {name: interval(values) for name, values in means.items()})
    return rows


def late_rows(plan: Plan, found: Every, task: str) -> list[dict[str, Any]]:
    """A row per lag and correction: the return at the end, its difference from that without a lag, and the gain over
    that with the same lag and no correction, both paired by run."""
    rows = []
    for lag, what in late_settings(plan, task):
        values = of_runs(plan, found, LATE, task, what, lag)
        if not values:
            continue
        fresh = of_runs(plan, found, LATE, task) if lag else {}
        plain = of_runs(plan, found, LATE, task, FRESH, lag) if what != FRESH else {}
        rows.append(
            {
                "task": task,
                "lag": lag,
                "correction": what,
                "runs": len(values),
                "value": interval([one["value"] for one in values.values()]),
                "difference": paired(values, fresh),
                "gain": paired(values, plain),
            }
        )
    return rows


def paired(mine: Mapping[int, Found], other: Mapping[int, Found]) -> dict[str, float | None] | None:
    """How much more the runs end with than the same runs of another setting; None where both have none."""
    both = sorted(set(mine) & set(other))
    return interval([mine[run]["value"] - other[run]["value"] for run in both]) if both else None


def table(summary: Mapping[str, Any]) -> None:
    """Print the returns at the end, the effective sample sizes of whole episodes, and the returns on late data."""
    ends = Table(title="return at the end of training", title_justify="left", box=SIMPLE)
    for column in ("environment", "algorithm", "return", "CPU s"):
        ends.add_column(column, justify="left" if column in ("environment", "algorithm") else "right", no_wrap=True)
    for one in summary["efficiency"]:
        for row in one["learners"]:
            name = summary["labels"][row["name"]]
            ends.add_row(summary["tasks"][one["task"]], name, text_of(row["end"], 1), text_of(row["seconds"], 1))
    late = Table(title="late data", title_justify="left", box=SIMPLE)
    for column in ("task", "turns late", "correction", "return", "minus fresh", "effective sample"):
        late.add_column(column, justify="left" if column in ("task", "correction") else "right", no_wrap=True)
    whole = whole_episodes(summary["weights"])
    for row in summary["late"]:
        how = summary["corrections"][row["correction"]] if row["lag"] else ""
        ess = whole.get((row["task"], row["lag"]))
        cells = [summary["tasks"][row["task"]], str(row["lag"]), how, text_of(row["value"], 2)]
        late.add_row(*cells, text_of(row["difference"], 2), text_of(ess and ess["ess"], 2))
    console = Console()
    for shown in (ends, late):
        if shown.row_count:
            console.print(shown)


def whole_episodes(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], Mapping[str, Any]]:
    """By task and lag, the row of the largest number of actions."""
    return {(row["task"], row["lag"]): row for row in sorted(rows, key=lambda row: row["count"])}


def text_of(one: Mapping[str, Any] | None, digits: int) -> str:
    """A mean and its interval."""
    if one is None:
        return ""
    ends = "" if one["low"] is None else f" [{one['low']:.{digits}f}, {one['high']:.{digits}f}]"
    return f"{one['mean']:.{digits}f}{ends}".replace("-", "−")
