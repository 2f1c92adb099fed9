"""The study of AI feedback: what labels of people and of a judge are worth at the same cost, in several shares.

The judge labels pairs of people's built-in comparisons as `burnish constitution` does. Reward models learn from
people's labels and the judge's, with its confidences, and are measured on held-out comparisons of people.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.recipes.compare import is_url
from burnish.recipes.processes import cores
from burnish.recipes.study.cell import WORK
from burnish.recipes.study.folder import input_hashes, opened, reasons, write_summary
from burnish.recipes.study.pool import computed
from burnish.recipes.study.replay import pairs_of
from burnish.recipes.study.shares.cells import Judging, Training, cells, chunks, judged, pool
from burnish.recipes.study.shares.plan import FULL, Plan
from burnish.recipes.study.shares.summary import summarise, table
from burnish.report.language.shares import shares_page
from burnish.run import UserError, remove_folder_atomically
from burnish.training.progress import Progress


def shares_study(
    out: Path,
    plan: Plan = FULL,
    jobs: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Run the study into `out` and return the summary that `summary.json` and `report.html` show.

    With `resume`, what is finished in `out` is not computed again. `command` is how the page says to repeat it. Raises
    UserError for a judge at a URL, where `out` holds something else or a study of other sizes, data or models, where
    the judge failed, and where a cell failed; the page is then of the others.
    """
    if is_url(plan.judge):
        raise UserError("--judge of this study is a language model in this process: give a run folder or a model")
    jobs = jobs or cores()
    with opened(out, asdict(plan), (), resume, quiet, inputs_of(plan)) as run:
        questions, trainings = chunks(plan), cells(plan)
        with Progress("study", len(questions) + len(trainings), quiet=quiet) as progress:
            _, lost = computed(questions, Judging(plan), run, jobs, progress)
            if lost:
                raise UserError(f"the judge failed: {reasons({one.label: why for one, why in lost.items()})}")
            found, failed = computed(trainings, Training(plan), run, jobs, progress)
        remove_folder_atomically(run.path / WORK)
        failures = {cell.label: reason for cell, reason in failed.items()}
        if not found:
            raise UserError(f"no reward model was trained: {reasons(failures)}")
        summary = summarise(plan, found, judged(plan, run.path), failures, command)
        write_summary(run.path, summary)
        shares_page(run.path)
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{reasons(failures)}; the other results are in {out}")
    return summary


def inputs_of(plan: Plan) -> dict[str, str]:
    """Hashes of the data, of the model that the reward models begin with, and of the judge."""
    texts = [[(one.a, one.b) for one in part] for part in (pool(), pairs_of("held_out", plan.held_out))]
    judge = input_hashes([], plan.judge)["model_sha256"]
    return input_hashes(texts, plan.model) | {"judge_sha256": judge}
