"""The study of on- and off-policy learning: how much the contrast matters here.

Algorithms that replay old steps are compared with PPO, which does not, in environment steps and in time. Then PPO and,
for a language model, RLOO learn from data that is some turns old, with and without importance weights, and the weights
themselves are measured: how few samples they leave, by the number of actions in an episode.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.recipes.processes import cores
from burnish.recipes.study.cell import WORK, Found, known
from burnish.recipes.study.folder import input_hashes, opened, reasons, write_summary
from burnish.recipes.study.onoff.cells import Cell, OnOff, every_cell
from burnish.recipes.study.onoff.control import method_of
from burnish.recipes.study.onoff.language import held_out, prompts
from burnish.recipes.study.onoff.plan import FULL, HIGH, Plan
from burnish.recipes.study.onoff.summary import summarise, table
from burnish.recipes.study.pool import computed
from burnish.report.onoff import onoff_page
from burnish.run import RunFolder, UserError, remove_folder_atomically
from burnish.training.loop import Interrupted
from burnish.training.progress import Progress

GROWING = ("runs", "language_runs")
"""What a resumed study may have more of, or less: the cells are the same."""


def onoff_study(
    out: Path,
    plan: Plan = FULL,
    jobs: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Run the study into `out` and return the summary that `summary.json` and `report.html` show.

    Both are written at the end, and when Ctrl-C ends the study; they then say what is missing. With `resume`, what is
    finished in `out` is not computed again; runs may then be others. `command` is how the page says to repeat it.
    Raises UserError where `out` holds something else or a study of other sizes, hyperparameters or data, and where a
    cell failed; the page is then of the others.
    """
    cells, job = [*every_cell(plan)], OnOff(plan)
    with opened(out, config_of(plan), GROWING, resume, quiet, inputs_of(plan)) as run:
        with Progress("study", len(cells), quiet=quiet) as progress:
            try:
                found, failed = computed(cells, job, run, jobs or cores(), progress)
            except Interrupted:
                done = {cell: one for cell in cells if (one := known(cell, job, run.path)) is not None}
                written(plan, done, {}, command, run)
                raise
        remove_folder_atomically(run.path / WORK)
        failures = {cell.label: reason for cell, reason in failed.items()}
        if not found:
            raise UserError(f"nothing was computed: {reasons(failures)}")
        summary = written(plan, found, failures, command, run)
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{reasons(failures)}; the other results are in {out}")
    return summary


def written(
    plan: Plan, found: dict[Cell, Found], failures: dict[str, str], command: str | None, run: RunFolder
) -> dict[str, Any]:
    """Write summary and page of what was found."""
    summary = summarise(plan, found, failures, command)
    write_summary(run.path, summary)
    onoff_page(run.path)
    return summary


def config_of(plan: Plan) -> dict[str, Any]:
    """What a study with this plan is begun with: its sizes, and the hyperparameters of its algorithms."""
    methods = {
        f"{task}/{name}": method_of(task, name).as_dict() for task, names in plan.learners.items() for name in names
    }
    return asdict(plan) | {"high": HIGH, "methods": methods}


def inputs_of(plan: Plan) -> dict[str, str]:
    """Hashes of the data and of the model that the study begins with."""
    return input_hashes([prompts(plan), held_out(plan)], plan.model)
