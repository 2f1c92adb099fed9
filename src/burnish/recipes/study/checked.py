"""The study of answers that can be checked: what each online method makes of the same start and the same samples.

For each task and seed a small transformer is taught by a few demonstrations until it is sometimes right, and then goes
on by each method, with the same number of completions. Every model answers the same held-out prompts many times:
accuracy, pass@k, length and entropy, before and after, paired over seeds and prompts.
"""

import json
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from burnish.recipes.processes import cores
from burnish.recipes.study.cells import WORK, Cell, Found
from burnish.recipes.study.graded import Graded
from burnish.recipes.study.plan import FULL, METHODS, SEARCH_SEED, SEARCH_TASK, TASKS, Plan
from burnish.recipes.study.pool import computed
from burnish.recipes.study.summary import summarise, table
from burnish.report.language.checked import checked_page
from burnish.run import RunFolder, UserError, hushed, make_folder, remove_folder_atomically, write_atomically
from burnish.training.progress import Progress

SUMMARY = "summary.json"
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
    with hushed(quiet), RunFolder.open(out, resume=resume) as run:
        config = asdict(plan) | {"definitions": {name: asdict(one) for name, one in (TASKS | METHODS).items()}}
        run.claim(config, free=GROWING)
        run.write_config(config)
        packages = {name: metadata.version(name) for name in ("burnish", "torch", "transformers", "numpy")}
        run.describe({"python": platform.python_version(), "packages": packages})
        searching, starts = search_cells(plan), [Cell(task, seed) for task in plan.tasks for seed in range(plan.seeds)]
        pupils = [*starts, *([Cell(SEARCH_TASK, SEARCH_SEED)] if searching else [])]
        total = len(pupils) + len(searching) + len(starts) * len(plan.methods)
        make_folder(run.path / WORK)
        with Progress("study", total, quiet=quiet) as progress:
            found, failed = computed(pupils, plan, run, jobs, progress)
            if failed.keys() - set(starts):
                raise UserError(f"the search for learning rates has no pupil: {'; '.join(failed.values())}")
            searched, lost = computed(searching, plan, run, jobs, progress)
            if lost:
                raise UserError(f"the search for learning rates failed: {'; '.join(lost.values())}")
            rates = chosen(searched, plan)
            cells = [Cell(c.task, c.seed, m, rates[m]) for c in starts if c in found for m in plan.methods]
            more, lost = computed(cells, plan, run, jobs, progress)
        remove_folder_atomically(run.path / WORK)
        failures = {cell.label: reason for cell, reason in (failed | lost).items()}
        phrases = "; ".join(f"{label}: {reason}" for label, reason in failures.items())
        summary = summarise(plan, found | more, rates, search_rows(searched), failures, command)
        if not summary["tasks"]:
            raise UserError(f"no seed of any task is complete: {phrases}")
        write_atomically(run.path / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")
        checked_page(run.path)
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{phrases}; the other results are in {run.path}")
    return summary


def search_cells(plan: Plan) -> list[Cell]:
    """The search for learning rates: every method with every rate, on a seed of its own."""
    if len(plan.rates) < 2:
        return []
    return [Cell(SEARCH_TASK, SEARCH_SEED, method, rate, True) for method in plan.methods for rate in plan.rates]


def search_rows(searched: dict[Cell, Found]) -> list[dict[str, Any]]:
    """The search as rows: method, rate and the share of right answers."""
    return [
        {"method": cell.method, "rate": cell.rate, "accuracy": Graded.of(one["graded"]).accuracy}
        for cell, one in searched.items()
    ]


def chosen(searched: dict[Cell, Found], plan: Plan) -> dict[str, float]:
    """Each method's learning rate: the one with the highest accuracy, the smaller of two equals."""
    best = dict.fromkeys(plan.methods, plan.rates[0])
    for method in best if searched else ():
        rows = [row for row in search_rows(searched) if row["method"] == method]
        best[method] = max(rows, key=lambda row: (row["accuracy"], -row["rate"]))["rate"]
    return best
