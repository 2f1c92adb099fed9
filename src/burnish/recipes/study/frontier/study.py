"""The study of the frontier: for the same pairs, the same start and the same compute, what reward for what KL?

One start completes prefixes, and the gold judge labels pairs of its completions as a noisy human would. Every method
learns from these pairs, through a reward model trained on them where it needs one, and is measured as it goes on
held-out prefixes: the judge's score there, and the KL divergence from the start.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from burnish.recipes.processes import cores
from burnish.recipes.study.cell import SHARED
from burnish.recipes.study.folder import opened, reasons, write_summary
from burnish.recipes.study.frontier.cells import Cell, Frontier
from burnish.recipes.study.frontier.plan import FIXED, METHODS, REDUCED, Plan
from burnish.recipes.study.frontier.summary import cells_of, every_cell, stopped, summarise, table
from burnish.recipes.study.judge import CONSTANTS
from burnish.recipes.study.results import Results, staged
from burnish.recipes.study.start import HELD_SEED, POOL_SEED, inputs_of
from burnish.report.language.frontier import frontier_page
from burnish.run import UserError

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
    Raises UserError where `out` holds something else or a study of another grid, other data or another judge, and where
    a cell failed; the page is then of the others.
    """

    def publish(results: Results[Cell]) -> dict[str, Any] | None:
        summary = summarise(plan, results.found, results.failures, command)
        if not summary["points"]:
            return None
        write_summary(results.run.path, summary)
        frontier_page(results.run.path)
        return summary

    folder = opened(out, config_of(plan), GROWING, resume, quiet, inputs_of(plan))
    summary, failures = staged(
        folder, Frontier(plan), len(every_cell(plan)), jobs or cores(), quiet, partial(stages, plan), publish
    )
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{reasons(failures)}; the other results are in {out}")
    return summary


def config_of(plan: Plan) -> dict[str, Any]:
    """The plan, and what the code fixes beside it: a study that is resumed with other numbers would mix two studies."""
    definitions = {name: asdict(METHODS[name]) for name in plan.grid}
    fixed = {"judge": CONSTANTS, "training": SHARED, "ppo": FIXED, "streams": {"held": HELD_SEED, "pool": POOL_SEED}}
    return asdict(plan) | {"definitions": definitions} | fixed


def stages(plan: Plan, results: Results[Cell]) -> None:
    """Compute the cells: the start, the reward models, and then seed by seed every setting. What a failed cell would
    have given to others keeps them from being computed; a reward model that has diverged, those that need it."""
    results.stage([Cell()])
    if Cell() in results.found:
        results.stage([Cell(seed) for seed in range(plan.seeds)])
    for seed in range(plan.seeds):
        if Cell(seed) in results.found:
            never = stopped(plan, results.found)
            results.stage([cell for cell in cells_of(plan, seed) if cell not in never])
            results.write()
