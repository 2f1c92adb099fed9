"""The classical path on an environment: every algorithm, many runs of each, and a page with the results."""

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException
from rich.console import Console

from burnish.evaluation.returns import label, summarise
from burnish.experience.control.environments import cautions, make_environments, spec_of_id
from burnish.experience.control.spaces import unplayable
from burnish.recipes.control.compute import compute
from burnish.recipes.control.facts import NEVER, advice, facts_of
from burnish.recipes.control.group import RETURNS, RunGroup
from burnish.recipes.control.longer import GROUPS, earlier_of, going_on, tidy
from burnish.recipes.control.settings import Experiment, experiment
from burnish.report.control.classic import classic_page
from burnish.run import RunFolder, UserError, first_line, hushed, printable, warn, write_atomically
from burnish.run.versions import versions

FREE = ("resume", "quiet", "debug", "processes", "out", "track")
"""Settings that a resumed experiment may change."""


def classic(**options: Any) -> Path:
    """Run the classical path and return the folder with `returns.parquet`, `summary.json` and `report.html`.

    `classic(env="CartPole-v1", algorithms=["reinforce", "ppo"], runs=5, out="runs/classic")`. Options are the fields of
    `burnish.recipes.control.settings.ClassicSettings`, `algorithms` (names, or a mapping of names to hyperparameters)
    and `env_options`. Raises UserError if an option is invalid or an environment failed; the results of the other runs
    are written in both cases.
    """
    return run_experiment(experiment(options))


def run_experiment(plan: Experiment, command: str | None = None) -> Path:
    """`classic` with checked settings; `command` is how the page says to repeat it."""
    settings = plan.settings
    with hushed(settings.quiet):
        tried = make_environments(settings.env, [0], 1, plan.wrappers, **plan.env_options)
        tried.close()  # an invalid one fails here, at once
        for method in plan.methods:
            if (reason := unplayable(method.algorithm.head, *tried.spaces)) is not None:
                raise UserError(f"{method.name} cannot learn {settings.env}: it {reason}")
        scaled = all(method.algorithm.head == "squashed" for method in plan.methods)
        limited = settings.steps is not None
        for caution in cautions(settings.env, limited, plan.wrappers, scaled, **plan.env_options):
            warn(caution)
    with hushed(settings.quiet), RunFolder.open(settings.out, resume=settings.resume) as run:
        run.claim(plan.as_dict(), free=(*FREE, "episodes", "steps"))
        names = [group.name for group in groups_of(plan)]
        replaying = [method.name for method in plan.methods if method.algorithm.replays]
        going_on(run, settings.episodes, names, replaying, steps=settings.steps)
        describe(run, plan)
        tidy(run.path, names)  # a kill may have left what was moved aside
        groups = [replace(g, earlier=earlier_of(run.path, g.name, g.episodes)) for g in groups_of(plan)]
        failed = compute(groups, run, plan.processes, settings.quiet)
        tidy(run.path, names)
        frame = collected(groups_of(plan), run.path, "algorithm", [method.name for method in plan.methods])
        if not frame.empty:
            conclude(plan, frame, run.path, command)
    if failed:
        kept = f"; the other runs' results are in {run.path}" if not frame.empty else ""
        raise UserError(f"{'; '.join(failed)}{kept}")
    if frame.empty:
        raise UserError(
            f"no episode ended within {settings.steps:,} steps, so that there are no returns to show: give more steps, "
            "or set max_episode_steps in env_options"
        )
    return run.path


def groups_of(plan: Experiment) -> list[RunGroup]:
    """The groups, the slowest first, so that no core waits for the last one."""
    settings = plan.settings
    return [
        RunGroup(
            *(method, settings.env, plan.env_options, plan.hidden, settings.episodes, settings.seed, first, last),
            wrappers=plan.wrappers,
            steps=settings.steps,
            track=settings.track,
            quiet=settings.quiet,
        )
        for method in reversed(plan.methods)
        for first in range(0, settings.runs, settings.group)
        for last in [min(first + settings.group, settings.runs) - 1]
    ]


def returns_of(path: Path) -> pd.DataFrame:
    """A group's episodes. Raises UserError where the file is damaged."""
    try:
        return pd.read_parquet(path)
    except (OSError, ArrowException) as error:
        raise UserError(
            f"{path} is damaged ({first_line(error)}): remove {path.parent} and compute it again with --resume"
        ) from error


def collected(groups: Sequence[Any], folder: Path, kind: str, order: Sequence[str]) -> pd.DataFrame:
    """All episodes of all runs as one table, sorted by the column `kind` in this order; saved as returns.parquet."""
    parts = [folder / GROUPS / group.name / RETURNS for group in groups]
    frames = [frame for path in parts if path.is_file() and not (frame := returns_of(path)).empty]
    if not frames:
        return pd.DataFrame()
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.sort_values([kind, "run", "episode"], key=lambda c: c.map(order.index) if c.name == kind else c)
    write_atomically(folder / RETURNS, frame.to_parquet(index=False))
    return frame


def conclude(plan: Experiment, frame: pd.DataFrame, folder: Path, command: str | None) -> None:
    """Write summary, figures and page."""
    settings, facts = plan.settings, facts_of(groups_of(plan), folder / GROUPS)
    threshold = spec_of_id(settings.env).reward_threshold
    if plan.wrappers or "max_episode_steps" in plan.env_options:
        threshold = None  # it is that of the environment as it was registered
    found = summarise(frame, threshold, settings.seed, facts.seconds, settings.episodes, settings.steps)
    found = facts.added_to(found, settings.env) | {"env": settings.env, "command": command}
    for name in facts.never():
        warn(f"{NEVER.format(label(name))}: {advice(plan, name)}")
    write_atomically(folder / "summary.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    classic_page(folder)


def describe(run: RunFolder, plan: Experiment) -> None:
    """Record versions and seed, which the numbers depend on."""
    now = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions("burnish", "torch", "gymnasium", "numpy"),
        "seed": plan.settings.seed,
    }
    if (differences := run.describe(now)) and not plan.settings.quiet:
        message = f"resumed in a different environment, so not to the same bits: {', '.join(differences)}"
        Console(stderr=True).print(printable(message), highlight=False, markup=False)
