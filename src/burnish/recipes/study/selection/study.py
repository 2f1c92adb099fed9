"""The study of selections: labels against held-out accuracy, for random pairs and for those that models disagree on.

People's comparisons are replayed: a pair gets the label that its rater gave when an order comes to it. An ensemble of
reward models learns from the first labels of each order, and is measured on held-out comparisons. The order by
disagreement is that of `burnish label --select disagreement`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.recipes.processes import cores
from burnish.recipes.study.cell import WORK, Found
from burnish.recipes.study.folder import input_hashes, opened, reasons, write_summary
from burnish.recipes.study.pool import computed
from burnish.recipes.study.selection.cells import Cell, Replay, held_out, pool_of
from burnish.recipes.study.selection.plan import FULL, Plan
from burnish.recipes.study.selection.summary import stages, summarise, table
from burnish.report.language.selection import selection_page
from burnish.run import RunFolder, UserError, remove_folder_atomically
from burnish.training.progress import Progress

GROWING = ("seeds",)
"""What a resumed study may have more of, or less: the cells are the same."""


def selection_study(
    out: Path,
    plan: Plan = FULL,
    jobs: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Run the study into `out` and return the summary that `summary.json` and `report.html` show.

    With `resume`, what is finished in `out` is not computed again; seeds may then be others. `command` is how the page
    says to repeat it. Raises UserError where `out` holds something else or a study of other sizes or data, and where a
    cell failed; the page is then of the others.
    """
    with opened(out, asdict(plan), GROWING, resume, quiet, inputs_of(plan)) as run:
        found, failed = cells_of(plan, run, jobs or cores(), quiet)
        remove_folder_atomically(run.path / WORK)
        failures = {cell.label: reason for cell, reason in failed.items()}
        if not found:
            raise UserError(f"nothing was computed: {reasons(failures)}")
        summary = summarise(plan, found, failures, command)
        write_summary(run.path, summary)
        selection_page(run.path)
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{reasons(failures)}; the other results are in {out}")
    return summary


def cells_of(plan: Plan, run: RunFolder, jobs: int, quiet: bool) -> tuple[dict[Cell, Found], dict[Cell, str]]:
    """Compute the cells, those that select for others first; without those that the others are not computed."""
    found: dict[Cell, Found] = {}
    failed: dict[Cell, str] = {}
    every = stages(plan)
    with Progress("study", sum(map(len, every)), quiet=quiet) as progress:
        for stage in every:
            ready = [cell for cell in stage if (before := cell.before(plan)) is None or before in found]
            more, lost = computed(ready, Replay(plan), run, jobs, progress)
            found |= more
            failed |= lost
    return found, failed


def inputs_of(plan: Plan) -> dict[str, str]:
    """Hashes of the data and of the model that the study begins with."""
    texts: Sequence[Any] = [[(one.a, one.b) for one in part] for part in (pool_of(plan), held_out(plan))]
    return input_hashes(texts, plan.model)
