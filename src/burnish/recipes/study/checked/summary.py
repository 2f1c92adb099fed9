"""The study's numbers: means over seeds and prompts with intervals, and differences paired by seed and prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.evaluation.pass_at_k import pass_at_k
from burnish.evaluation.statistics import bootstrap_interval, clustered_interval
from burnish.recipes.study.cell import Found
from burnish.recipes.study.checked.cells import Cell
from burnish.recipes.study.checked.graded import Graded
from burnish.recipes.study.checked.plan import METHODS, TASKS, Plan

ALL = "all"
START = "start"
REFERENCE = "grpo"
"""The method that others are compared with; the first one where it is not there."""

RESAMPLES = 2000
"""For the bands of curves."""

Seeds = dict[str, list[Found]]
"""By method, and "start" for the pupil: what was found for each seed."""


def summarise(
    plan: Plan,
    found: Mapping[Cell, Found],
    rates: Mapping[str, Mapping[str, float]],
    search: list[dict[str, Any]],
    failures: Mapping[str, str],
    command: str | None,
) -> dict[str, Any]:
    """What the page shows: for each task, and over all of them, a row per method, the start first, and the curves.

    A seed of a task counts where all methods are there; over all tasks a seed where all tasks are.
    """
    tasks = {task: by_method(task, plan, found) for task in plan.tasks}
    tasks = {task: runs for task, runs in tasks.items() if runs[START]}
    results = {task: rows({task: runs}, plan) for task, runs in tasks.items()}
    curves = {task: lines({task: runs}) for task, runs in tasks.items()}
    if len(tasks) > 1:
        seeds = set.intersection(*({one["seed"] for one in runs[START]} for runs in tasks.values()))
        same = {t: {m: [o for o in ones if o["seed"] in seeds] for m, ones in r.items()} for t, r in tasks.items()}
        if seeds:
            results[ALL], curves[ALL] = rows(same, plan), lines(same)
    return {
        "plan": asdict(plan),
        "tasks": list(tasks),
        "seeds": {task: len(runs[START]) for task, runs in tasks.items()},
        "demonstrations": {task: TASKS[task].demonstrations for task in tasks},
        "labels": {name: METHODS[name].label for name in plan.methods},
        "reference": reference(plan),
        "rates": {task: dict(of_task) for task, of_task in rates.items()},
        "search": search,
        "results": results,
        "curves": curves,
        "failures": dict(failures),
        "command": command,
    }


def reference(plan: Plan) -> str:
    return REFERENCE if REFERENCE in plan.methods else plan.methods[0]


def by_method(task: str, plan: Plan, found: Mapping[Cell, Found]) -> Seeds:
    """The complete seeds of a task."""
    by_name: dict[tuple[int, str], Found] = {
        (cell.seed, cell.method or START): one for cell, one in found.items() if cell.task == task
    }
    names = (START, *plan.methods)
    seeds = [seed for seed in range(plan.seeds) if all((seed, name) in by_name for name in names)]
    return {name: [by_name[seed, name] | {"seed": seed} for seed in seeds] for name in names}


def rows(tasks: Mapping[str, Seeds], plan: Plan) -> list[dict[str, Any]]:
    """A row per method: pass@1 (the accuracy) and pass@n with 95 % intervals over seeds and prompts, their differences
    to the start and to the reference, and means of length, entropy, silent groups, tokens and CPU seconds."""
    first = {k: cells_of(tasks, START, k) for k in (1, plan.samples)}
    other = {k: cells_of(tasks, reference(plan), k) for k in (1, plan.samples)}
    table = []
    for name in (START, *plan.methods):
        runs = [one for by_name in tasks.values() for one in by_name[name]]
        row: dict[str, Any] = {"name": name}
        for key, k in (("pass_1", 1), ("pass_n", plan.samples)):
            cells = cells_of(tasks, name, k)
            row[key] = clustered_interval(cells).as_dict()
            if name != START:
                row[f"{key}_gain"] = clustered_interval(cells - first[k]).as_dict()
            if name not in (START, reference(plan)):
                row[f"{key}_difference"] = clustered_interval(cells - other[k]).as_dict()
        row["length"] = mean(runs, lambda one: one["graded"]["length"])
        row["entropy"] = mean(runs, lambda one: one["graded"]["entropy"])
        if name != START:
            row |= {key: mean(runs, lambda one, key=key: one[key]) for key in ("tokens", "seconds")}  # type: ignore[misc]
            row["silent_first"] = mean(runs, lambda one: one["curve"][0]["silent"])
            row["silent_last"] = mean(runs, lambda one: one["curve"][-1]["silent"])
        table.append(row)
    return table


def mean(runs: Sequence[Found], value: Callable[[Found], float | None]) -> float | None:
    """The mean over runs; None where one has no such number."""
    values = [value(one) for one in runs]
    return None if any(one is None for one in values) else float(np.mean([one for one in values if one is not None]))


def cells_of(tasks: Mapping[str, Seeds], name: str, k: int) -> np.ndarray:
    """pass@k of each seed and prompt, `[seeds, prompts of all tasks]`."""
    parts = []
    for runs in tasks.values():
        graded = [Graded.of(one["graded"]) for one in runs[name]]
        n = graded[0].samples
        worth = np.array([pass_at_k(n, c, k) for c in range(n + 1)])
        parts.append(worth[np.array([one.right for one in graded])])
    return np.concatenate(parts, axis=1)


def lines(tasks: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    """Accuracy during training, by method and number of rollouts: the mean over tasks and its interval over seeds.

    Tokens and seconds are means over all runs. The first point is the pupil, graded as at the end.
    """
    out = []
    for name in next(iter(tasks.values())):
        if name == START:
            continue
        before = {task: [Graded.of(one["graded"]).accuracy for one in runs[START]] for task, runs in tasks.items()}
        out.append({"name": name, "rollouts": 0, "tokens": 0.0, "seconds": 0.0} | over_seeds(list(before.values())))
        for at, first in enumerate(next(iter(tasks.values()))[name][0]["curve"]):
            points = [[one["curve"][at] for one in runs[name]] for runs in tasks.values()]
            every = [point for part in points for point in part]
            sizes = {key: float(np.mean([one[key] for one in every])) for key in ("tokens", "seconds")}
            shares = over_seeds([[one["accuracy"] for one in part] for part in points])
            out.append({"name": name, "rollouts": first["rollouts"]} | sizes | shares)
    return out


def over_seeds(accuracies: Sequence[Sequence[float]]) -> dict[str, float]:
    """The interval over seeds of `[tasks, seeds]` accuracies, averaged over tasks."""
    return bootstrap_interval(np.mean(accuracies, axis=0), resamples=RESAMPLES).as_dict()


def table(summary: Mapping[str, Any]) -> None:
    """Print a table per task, in percent, with the intervals of what was gained in percentage points."""
    n = summary["plan"]["samples"]
    for task, found in summary["results"].items():
        shown = Table(
            title="mean of all tasks" if task == ALL else task.replace("_", " "), title_justify="left", box=SIMPLE
        )
        for column in ("method", "pass@1", "gain, 95 %", f"pass@{n}", "gain, 95 %"):
            shown.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
        for one in found:
            cells = [summary["labels"].get(one["name"], one["name"])]
            for key in ("pass_1", "pass_n"):
                gain = one.get(f"{key}_gain")
                ends = f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}" if gain else ""
                cells += [f"{100 * one[key]['mean']:.1f}", ends]
            shown.add_row(*cells)
        Console().print(shown)
