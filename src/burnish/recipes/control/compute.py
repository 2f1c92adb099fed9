"""Computes groups of runs, one after the other or several at a time in processes of their own."""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import torch
from rich.console import Console

from burnish.recipes.control.bars import Bars
from burnish.recipes.control.failures import told
from burnish.recipes.control.group import RETURNS, RunGroup, run_group
from burnish.recipes.control.longer import FINISHED, GROUPS
from burnish.recipes.processes import workers
from burnish.run import RunFolder, UserError, read_mapping, remove_folder_atomically, warn
from burnish.training.loop import Interrupted, interruptible


def compute(
    groups: Sequence[Any], home: RunFolder, processes: int, quiet: bool, run: Callable[..., dict[str, Any]] = run_group
) -> list[str]:
    """`run` the unfinished groups in separate processes, and return what failed, as phrases.

    A group in which runs failed is computed again: the mistake may be mended. Raises Interrupted on Ctrl-C: finished
    groups are kept. Raises UserError if the folder `home` is gone.
    """
    folder = home.path / GROUPS
    found = {g.name: outcome(folder / g.name) for g in groups if finished(folder / g.name)}
    again = {name: len(one["failed"]) for name, one in found.items() if one["failed"]}
    found = {name: one for name, one in found.items() if name not in again}
    waiting = [group for group in groups if group.name not in found]
    if again and not quiet:
        runs = "; ".join(f"{count} of {name}" for name, count in again.items())
        Console(stderr=True).print(f"runs had failed, and their groups are computed again: {runs}", highlight=False)
    for group in waiting:
        if (folder / group.name).exists():
            remove_folder_atomically(folder / group.name)
    failed: dict[str, str] = {}
    with Bars(groups, quiet) as bars:
        for group in groups:
            if group.name in found:
                bars.set(group, group.length * len(group.seeds))
        together = alone if min(processes, len(waiting)) < 2 else spread
        try:
            together(run, processes, waiting, home, bars, found, failed)
        except KeyboardInterrupt as error:
            raise Interrupted(f"{home.path} keeps the finished groups; --resume computes the others") from error
    return told(groups, failed, found)


def alone(
    run: Callable[..., dict[str, Any]],
    processes: int,
    groups: Sequence[RunGroup],
    home: RunFolder,
    bars: Bars,
    found: dict[str, Any],
    failed: dict[str, str],
) -> None:
    """One group after the other, in this process."""
    threads = torch.get_num_threads()
    try:
        for group in groups:
            compute_it = partial(run, group, home.path / GROUPS / group.name, partial(bars.set, group))
            settle(group, compute_it, bars, found, failed)
            home.check_there()
    finally:
        torch.set_num_threads(threads)


def spread(
    run: Callable[..., dict[str, Any]],
    processes: int,
    groups: Sequence[RunGroup],
    home: RunFolder,
    bars: Bars,
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
        pending = {pool.submit(work, run, group, home.path / GROUPS / group.name, heard): group for group in groups}
        while pending:
            listen(heard, {group.name: group for group in pending.values()}, bars)
            if interrupted():
                raise KeyboardInterrupt
            for future in [future for future in pending if future.done()]:
                settle(pending.pop(future), future.result, bars, found, failed)
                home.check_there()


def listen(heard: Any, pending: Mapping[str, RunGroup], bars: Bars) -> None:
    """Read the queue, waiting for at most half a second; messages about finished groups are ignored."""
    wait = 0.5
    with suppress(Empty):
        while True:
            name, episodes = heard.get(timeout=wait)
            wait = 0.0
            if name in pending:
                bars.set(pending[name], episodes)


def settle(
    group: RunGroup, result: Callable[[], dict[str, Any]], bars: Bars, found: dict[str, Any], failed: dict[str, str]
) -> None:
    """Store a group's result. A user's mistake in one group does not stop the others."""
    try:
        own = result()
        if own.get("caution") and not any(one.get("caution") for one in found.values()):
            warn(f"{group.env}: {own['caution']}")
        found[group.name] = own
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
