"""The study of the frontier: for the same pairs, the same start and the same compute, what reward for what KL?

One start completes prefixes, and the gold judge labels pairs of its completions as a noisy human would. Every method
learns from these pairs, through a reward model trained on them where it needs one, and is measured as it goes on
held-out prefixes: the judge's score there, and the KL divergence from the start.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.data import builtin
from burnish.recipes.processes import cores
from burnish.recipes.study.cell import WORK, Found, known
from burnish.recipes.study.folder import input_hashes, opened, reasons, write_summary
from burnish.recipes.study.frontier.cells import Cell, Frontier, held_out, prefixes
from burnish.recipes.study.frontier.plan import METHODS, REDUCED, Plan
from burnish.recipes.study.frontier.summary import cells_of, every_cell, summarise, table
from burnish.recipes.study.pool import computed
from burnish.report.language.frontier import frontier_page
from burnish.run import RunFolder, UserError, remove_folder_atomically
from burnish.training.loop import Interrupted
from burnish.training.progress import Progress

GROWING = ("seeds",)
"""What a resumed study may have more of, or less: the cells are the same."""


def frontier_study(
    out: Path,
    plan: Plan = REDUCED,
    jobs: int | None = None,
    resume: bool = False,
    quiet: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Run the study into `out` and return the summary that `summary.json` and `report.html` show.

    Both are written after each seed, and when Ctrl-C ends the study; they then say what is missing. With `resume`, what
    is finished in `out` is not computed again; seeds may then be others. `command` is how the page says to repeat it.
    Raises UserError where `out` holds something else or a study of another grid or other data, and where a cell failed;
    the page is then of the others.
    """
    jobs = jobs or cores()
    config = asdict(plan) | {"definitions": {name: asdict(METHODS[name]) for name in plan.grid}}
    results = Results(plan, command)
    with opened(out, config, GROWING, resume, quiet, inputs_of(plan)) as run:
        with Progress("study", len(every_cell(plan)), quiet=quiet) as progress:
            try:
                study(plan, run, jobs, progress, results)
            except Interrupted:
                results.write(run)
                raise
        remove_folder_atomically(run.path / WORK)
        summary = results.write(run)
    if summary is None:
        raise UserError(f"no setting was computed: {reasons(results.failures)}")
    if not quiet:
        table(summary)
    if results.failures:
        raise UserError(f"{reasons(results.failures)}; the other results are in {out}")
    return summary


@dataclass
class Results:
    """What was found of the cells, and why others failed."""

    plan: Plan
    command: str | None
    found: dict[Cell, Found] = field(default_factory=dict)
    failed: dict[Cell, str] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, str]:
        return {cell.label: reason for cell, reason in self.failed.items()}

    def write(self, run: RunFolder) -> dict[str, Any] | None:
        """Write summary and page; None before there is a point to show."""
        summary = summarise(self.plan, self.found, self.failures, self.command)
        if not summary["points"]:
            return None
        write_summary(run.path, summary)
        frontier_page(run.path)
        return summary


def study(plan: Plan, run: RunFolder, jobs: int, progress: Progress, results: Results) -> None:
    """Compute the cells: the start, the reward models, and then seed by seed every setting. What a failed cell would
    have given to others keeps them from being computed."""
    job = Frontier(plan)

    def stage(cells: Sequence[Cell]) -> None:
        try:
            found, failed = computed(cells, job, run, jobs, progress)
        except Interrupted:
            results.found |= {cell: one for cell in cells if (one := known(cell, job, run.path)) is not None}
            raise
        results.found |= found
        results.failed |= failed

    stage([Cell()])
    if Cell() in results.found:
        stage([Cell(seed) for seed in range(plan.seeds)])
    for seed in range(plan.seeds):
        if Cell(seed) in results.found:
            stage(cells_of(plan, seed))
            results.write(run)


def inputs_of(plan: Plan) -> dict[str, str]:
    """Hashes of the data and of the model that the study begins with."""
    texts = [prefixes(plan), held_out(plan), list(builtin.demonstrations("train")["text"])]
    return input_hashes(texts, plan.model)
