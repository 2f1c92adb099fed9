"""The study of answers that can be checked: what each online method makes of the same start and the same samples.

For each task and seed a small transformer is taught by a few demonstrations until it is sometimes right, and then goes
on by each method, with the same number of completions. Every model answers the same held-out prompts many times:
accuracy, pass@k, length and entropy, before and after, paired over seeds and prompts.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.recipes.processes import cores
from burnish.recipes.study.cell import WORK, Found
from burnish.recipes.study.checked.cells import Cell, Checked
from burnish.recipes.study.checked.graded import Graded
from burnish.recipes.study.checked.plan import FULL, METHODS, SEARCH_SEED, TASKS, Plan
from burnish.recipes.study.checked.summary import summarise, table
from burnish.recipes.study.folder import opened, reasons, write_summary
from burnish.recipes.study.pool import computed
from burnish.report.language.checked import checked_page
from burnish.run import RunFolder, UserError, remove_folder_atomically
from burnish.training.progress import Progress

GROWING = ("tasks", "seeds")
"""What a resumed study may have more of, or less: the cells are the same."""


def checked_study(
    out: Path,
    plan: Plan = FULL,
    jobs: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Run the study into `out` and return the summary that `summary.json` and `report.html` show.

    With `resume`, what is finished in `out` is not computed again; tasks and seeds may then be others. `command` is how
    the page says to repeat it. Raises UserError where `out` holds something else, and where a cell failed; the page is
    then of the others.
    """
    jobs = jobs or cores()
    config = asdict(plan) | {"definitions": {name: asdict(one) for name, one in (TASKS | METHODS).items()}}
    with opened(out, config, GROWING, resume, quiet) as run:
        results = Results()
        with Progress("study", sum(map(len, every_cell(plan))), quiet=quiet) as progress:
            for task in plan.tasks:
                study_task(task, plan, run, jobs, progress, results)
        remove_folder_atomically(run.path / WORK)
        failures = {cell.label: reason for cell, reason in results.failed.items()}
        phrases = reasons(failures)
        summary = summarise(plan, results.found, results.rates, results.search, failures, command)
        if not summary["tasks"]:
            raise UserError(f"no seed of any task is complete: {phrases}")
        write_summary(run.path, summary)
        checked_page(run.path)
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{phrases}; the other results are in {run.path}")
    return summary


@dataclass
class Results:
    """What was found of the cells, why others failed, each task's learning rates, and the search for them as rows."""

    found: dict[Cell, Found] = field(default_factory=dict)
    failed: dict[Cell, str] = field(default_factory=dict)
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    search: list[dict[str, Any]] = field(default_factory=list)


def study_task(task: str, plan: Plan, run: RunFolder, jobs: int, progress: Progress, results: Results) -> None:
    """Compute the cells of a task: its pupils, the search for learning rates, and each method from each pupil.

    A method whose search failed is not computed.
    """
    job = Checked(plan)
    pupils, searching = pupil_cells(task, plan), search_cells(task, plan)
    found, failed = computed(pupils, job, run, jobs, progress)
    searched, lost = computed(
        [cell for cell in searching if Cell(task, SEARCH_SEED) in found], job, run, jobs, progress
    )
    rates = results.rates[task] = chosen(searched, plan)
    results.search += search_rows(searched)
    starts = [cell for cell in pupils if cell in found and cell.seed != SEARCH_SEED]
    cells = [Cell(task, start.seed, method, rate) for start in starts for method, rate in rates.items()]
    more, gone = computed(cells, job, run, jobs, progress)
    results.found |= {start: found[start] for start in starts} | more
    results.failed |= failed | lost | gone


def every_cell(plan: Plan) -> list[list[Cell]]:
    """All cells, by task; of the methods without their learning rates, which are not known before the search."""
    return [
        [*pupil_cells(task, plan), *search_cells(task, plan)]
        + [Cell(task, seed, method) for seed in range(plan.seeds) for method in plan.methods]
        for task in plan.tasks
    ]


def pupil_cells(task: str, plan: Plan) -> list[Cell]:
    """The pupils of a task, and last the one that learning rates are chosen with."""
    seeds = [*range(plan.seeds), *([SEARCH_SEED] if plan.rate is None else [])]
    return [Cell(task, seed) for seed in seeds]


def search_cells(task: str, plan: Plan) -> list[Cell]:
    """The search for a task's learning rates: every method with each of its rates, on a seed of its own."""
    if plan.rate is not None:
        return []
    return [Cell(task, SEARCH_SEED, method, rate, True) for method in plan.methods for rate in METHODS[method].rates]


def search_rows(searched: dict[Cell, Found]) -> list[dict[str, Any]]:
    """The search as rows: task, method, rate and the share of right answers."""
    return [
        {"task": cell.task, "method": cell.method, "rate": cell.rate, "accuracy": Graded.of(one["graded"]).accuracy}
        for cell, one in searched.items()
    ]


def chosen(searched: dict[Cell, Found], plan: Plan) -> dict[str, float]:
    """Each method's learning rate on a task: the one with the highest accuracy, the smaller of two equals.

    A method of which no rate was found is left out.
    """
    if plan.rate is not None:
        return dict.fromkeys(plan.methods, plan.rate)
    best = {}
    for method in plan.methods:
        if rows := [row for row in search_rows(searched) if row["method"] == method]:
            best[method] = max(rows, key=lambda row: (row["accuracy"], -row["rate"]))["rate"]
    return best
