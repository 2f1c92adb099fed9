"""The classical path on an environment: every algorithm, many runs of each, and a page with the results."""

import json
import multiprocessing
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from queue import Empty
from typing import Any

import gymnasium
import pandas as pd
import torch
from pyarrow import ArrowException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from burnish.evaluation.returns import label, summarise
from burnish.experience.control.environments import make_environments
from burnish.recipes.control.group import FINISHED, RETURNS, RunGroup, run_group
from burnish.recipes.control.settings import Experiment, experiment
from burnish.recipes.processes import workers
from burnish.report.control.classic import classic_page
from burnish.run import (
    RunFolder,
    UserError,
    first_line,
    hushed,
    read_mapping,
    remove_folder_atomically,
    write_atomically,
)
from burnish.training.loop import Interrupted, interruptible

GROUPS = "groups"


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
        make_environments(settings.env, [0], 1, **plan.env_options).close()  # an invalid one fails here, at once
    with hushed(settings.quiet), RunFolder.open(settings.out, resume=settings.resume) as run:
        run.claim(plan.as_dict(), free=("resume", "quiet", "debug", "processes", "out"))
        describe(run, plan)
        failed = compute(groups_of(plan), run.path / GROUPS, plan.processes, settings.quiet)
        frame = collected(groups_of(plan), run.path, "algorithm", [method.name for method in plan.methods])
        if not frame.empty:
            conclude(plan, frame, run.path, command)
    if failed:
        kept = f"; the other runs' results are in {run.path}" if not frame.empty else ""
        raise UserError(f"{'; '.join(failed)}{kept}")
    return run.path


def groups_of(plan: Experiment) -> list[RunGroup]:
    """The groups, the slowest first, so that no core waits for the last one."""
    settings = plan.settings
    return [
        RunGroup(method, settings.env, plan.env_options, plan.hidden, settings.episodes, settings.seed, first, last)
        for method in reversed(plan.methods)
        for first in range(0, settings.runs, settings.group)
        for last in [min(first + settings.group, settings.runs) - 1]
    ]


def compute(
    groups: Sequence[Any], folder: Path, processes: int, quiet: bool, run: Callable[..., dict[str, Any]] = run_group
) -> list[str]:
    """`run` the unfinished groups in separate processes, and return what failed, as phrases.

    Raises Interrupted on Ctrl-C: finished groups are kept.
    """
    found = {g.name: outcome(folder / g.name) for g in groups if finished(folder / g.name)}
    waiting = [group for group in groups if group.name not in found]
    for group in waiting:
        if (folder / group.name).exists():
            remove_folder_atomically(folder / group.name)
    failed: dict[str, str] = {}
    with Bars(groups, quiet) as bars:
        for group in groups:
            if group.name in found:
                bars.set(group, group.episodes * len(group.seeds))
        together = alone if min(processes, len(waiting)) < 2 else spread
        try:
            together(run, processes, waiting, folder, bars, found, failed)
        except KeyboardInterrupt as error:
            raise Interrupted(f"{folder.parent} keeps the finished groups; --resume computes the others") from error
    phrases = [f"{group.method.name}: {failed[group.name]}" for group in groups if group.name in failed]
    for group in groups:
        failures = found.get(group.name, {"failed": {}})["failed"]
        phrases += [f"{group.method.name}, run {run}: {reason}" for run, reason in failures.items()]
    return list(dict.fromkeys(phrases))


def alone(
    run: Callable[..., dict[str, Any]],
    processes: int,
    groups: Sequence[RunGroup],
    folder: Path,
    bars: "Bars",
    found: dict[str, Any],
    failed: dict[str, str],
) -> None:
    """One group after the other, in this process."""
    threads = torch.get_num_threads()
    try:
        for group in groups:
            compute_it = partial(run, group, folder / group.name, partial(bars.set, group))
            settle(group, compute_it, bars, found, failed)
    finally:
        torch.set_num_threads(threads)


def spread(
    run: Callable[..., dict[str, Any]],
    processes: int,
    groups: Sequence[RunGroup],
    folder: Path,
    bars: "Bars",
    found: dict[str, Any],
    failed: dict[str, str],
) -> None:
    """Several groups at a time, in processes with one thread each."""
    with (
        interruptible() as interrupted,
        multiprocessing.get_context("spawn").Manager() as manager,
        workers(min(processes, len(groups))) as pool,
    ):
        heard = manager.Queue()
        pending = {pool.submit(work, run, group, folder / group.name, heard): group for group in groups}
        while pending:
            listen(heard, {group.name: group for group in pending.values()}, bars)
            if interrupted():
                raise KeyboardInterrupt
            for future in [future for future in pending if future.done()]:
                settle(pending.pop(future), future.result, bars, found, failed)


def listen(heard: Any, pending: Mapping[str, RunGroup], bars: "Bars") -> None:
    """Read the queue, waiting for at most half a second; messages about finished groups are ignored."""
    wait = 0.5
    with suppress(Empty):
        while True:
            name, episodes = heard.get(timeout=wait)
            wait = 0.0
            if name in pending:
                bars.set(pending[name], episodes)


def settle(
    group: RunGroup, result: Callable[[], dict[str, Any]], bars: "Bars", found: dict[str, Any], failed: dict[str, str]
) -> None:
    """Store a group's result. A user's mistake in one group does not stop the others."""
    try:
        found[group.name] = result()
        bars.done(group, found[group.name]["seconds"])
    except UserError as error:
        failed[group.name] = str(error)
    except BrokenProcessPool:
        failed[group.name] = "a process was killed, for want of memory perhaps: go on with --resume and fewer processes"


def work(run: Callable[..., dict[str, Any]], group: RunGroup, folder: Path, heard: Any) -> dict[str, Any]:
    """`run` the group, and report its progress to the queue at most once per second."""
    last = 0.0

    def progress(episodes: int) -> None:
        nonlocal last
        if time.monotonic() - last > 1:
            last = time.monotonic()
            heard.put((group.name, episodes))

    return run(group, folder, progress)


def finished(folder: Path) -> bool:
    return (folder / FINISHED).is_file() and (folder / RETURNS).is_file()


def outcome(folder: Path) -> dict[str, Any]:
    """What a finished group says about itself. Raises UserError where the file is damaged."""
    found = read_mapping(folder / FINISHED)
    if not (isinstance(found.get("seconds"), int | float) and isinstance(found.get("failed"), dict)):
        raise UserError(f"{folder / FINISHED} is damaged: remove {folder} and compute it again with --resume")
    return found


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
    seconds: dict[str, float] = {}
    for group in groups_of(plan):
        if finished(folder / GROUPS / group.name):
            spent = outcome(folder / GROUPS / group.name)["seconds"]
            seconds[group.method.name] = round(seconds.get(group.method.name, 0.0) + spent, 3)
    threshold = gymnasium.spec(plan.settings.env.rpartition(":")[2]).reward_threshold
    if "max_episode_steps" in plan.env_options:
        threshold = None  # it is that of the environment as it was registered
    found = summarise(frame, threshold, plan.settings.seed, seconds, plan.settings.episodes)
    found |= {"env": plan.settings.env, "command": command}
    write_atomically(folder / "summary.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    classic_page(folder)


def describe(run: RunFolder, plan: Experiment) -> None:
    """Record versions and seed, which the numbers depend on."""
    packages = ("burnish", "torch", "gymnasium", "numpy")
    now = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
        "seed": plan.settings.seed,
    }
    if (differences := run.describe(now)) and not plan.settings.quiet:
        message = f"resumed in a different environment, so not to the same bits: {', '.join(differences)}"
        Console(stderr=True).print(message, highlight=False, markup=False)


class Bars:
    """One progress bar per algorithm on standard error; without a terminal one line per finished group."""

    def __init__(self, groups: Sequence[RunGroup], quiet: bool) -> None:
        self.console, self.quiet = Console(stderr=True), quiet
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} episodes"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console, disable=quiet or not self.console.is_terminal)
        self.groups, self.counts = groups, {group.name: 0 for group in groups}
        totals: dict[str, int] = {}
        for group in reversed(groups):
            totals[group.method.name] = totals.get(group.method.name, 0) + group.episodes * len(group.seeds)
        self.tasks = {name: self.bars.add_task(label(name), total=total) for name, total in totals.items()}

    def __enter__(self) -> "Bars":
        self.bars.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.bars.stop()

    def set(self, group: RunGroup, episodes: int) -> None:
        """Set the number of the group's finished episodes."""
        self.counts[group.name] = episodes
        name = group.method.name
        done = sum(self.counts[other.name] for other in self.groups if other.method.name == name)
        self.bars.update(self.tasks[name], completed=done)

    def done(self, group: RunGroup, seconds: float) -> None:
        self.set(group, group.episodes * len(group.seeds))
        if not self.quiet and not self.console.is_terminal:
            runs = f"runs {group.first} to {group.last}" if group.last > group.first else f"run {group.first}"
            self.console.print(f"{group.method.name}, {runs}: {seconds:.0f} s", highlight=False)
