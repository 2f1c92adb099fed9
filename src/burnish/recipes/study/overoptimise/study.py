"""The study of over-optimisation: what becomes of the gold score as a proxy for it is optimised further and further.

One start completes prefixes, and the gold judge labels pairs of its completions as a noisy human would. Reward models
learn from few, some and many of these labels. The best of n and PPO optimise each of them, and are measured on held-out
prefixes: the gold score, what the reward model claims, and the KL divergence from the start.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from burnish.recipes.processes import cores
from burnish.recipes.study.cell import SHARED
from burnish.recipes.study.folder import opened, reasons, write_summary
from burnish.recipes.study.judge import CONSTANTS
from burnish.recipes.study.overoptimise.cells import Cell, Overoptimise
from burnish.recipes.study.overoptimise.plan import BEST, FIXED, FULL, KEPT, Plan
from burnish.recipes.study.overoptimise.proxies import LABEL_SEED
from burnish.recipes.study.overoptimise.summary import (
    cells_of,
    every_cell,
    judged_of,
    rewards_of,
    stopped,
    summarise,
    table,
)
from burnish.recipes.study.results import Results, staged
from burnish.recipes.study.start import HELD_SEED, POOL_SEED, inputs_of
from burnish.report.language.overoptimise import overoptimise_page
from burnish.run import UserError

GROWING = ("seeds",)
"""What a resumed study may have more of, or less: the cells are the same."""


def overoptimise_study(
    out: Path,
    plan: Plan = FULL,
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
        overoptimise_page(results.run.path)
        return summary

    folder = opened(out, config_of(plan), GROWING, resume, quiet, inputs_of(plan))
    summary, failures = staged(
        folder, Overoptimise(plan), len(every_cell(plan)), jobs or cores(), quiet, partial(stages, plan), publish
    )
    if not quiet:
        table(summary)
    if failures:
        raise UserError(f"{reasons(failures)}; the other results are in {out}")
    return summary


def config_of(plan: Plan) -> dict[str, Any]:
    """The plan, and what the code fixes beside it: a study that is resumed with other numbers would mix two studies."""
    streams = {"held": HELD_SEED, "pool": POOL_SEED, "labels": LABEL_SEED}
    return asdict(plan) | {"judge": CONSTANTS, "training": SHARED, "ppo": FIXED, "streams": streams, "kept": KEPT}


def stages(plan: Plan, results: Results[Cell]) -> None:
    """Compute the cells: the start, then seed by seed the reward models and what optimises them, and last what the
    reward models of other seeds say of what was written. What a failed cell would have given to others keeps them from
    being computed, and so does a reward model that has diverged."""
    results.stage([Cell()])
    if Cell() not in results.found:
        return
    for seed in range(plan.seeds):
        results.stage(rewards_of(plan, seed))
        never = stopped(plan, results.found)
        ready = [cell for cell in cells_of(plan, seed) if {*needed_by(plan, cell)} <= results.found.keys()]
        results.stage([cell for cell in ready if cell not in never])
        results.write()
    never = stopped(plan, results.found)
    ready = [cell for cell in judged_of(plan) if {*needed_by(plan, cell)} <= results.found.keys()]
    results.stage([cell for cell in ready if cell not in never])


def needed_by(plan: Plan, cell: Cell) -> list[Cell]:
    """What a cell of `cells_of` or `judged_of` reads beside the start: the reward models of its seed, or a training and
    the reward models of all seeds."""
    if cell.members is not None:
        return [cell.run, *(Cell(seed, None, cell.labels) for seed in range(plan.seeds))]
    labels = plan.labels if cell.method == BEST else () if cell.labels is None else (cell.labels,)
    return [Cell(cell.seed, None, one) for one in labels]
