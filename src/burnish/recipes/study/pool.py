"""Computing a study's cells, in several processes."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from burnish.recipes.processes import workers
from burnish.recipes.study.cell import C, Found, Job, kept, known
from burnish.run import RunFolder, UserError, hushed, printable
from burnish.training.loop import Interrupted, interruptible
from burnish.training.progress import Progress

POLL = 0.5
"""Seconds between looks at whether Ctrl-C was pressed."""


def computed(
    cells: Sequence[C], job: Job[C], home: RunFolder, jobs: int, progress: Progress
) -> tuple[dict[C, Found], dict[C, str]]:
    """What was found of each cell, and why others failed; those with a file are not computed again.

    A user's mistake in one cell does not stop the others. Raises Interrupted on Ctrl-C: finished cells are kept.
    Raises UserError if the folder `home` is gone.
    """
    out = home.path
    found = {cell: one for cell in cells if (one := known(cell, job, out)) is not None}
    failed: dict[C, str] = {}
    for _ in found:
        progress.step()
    waiting = [cell for cell in cells if cell not in found]
    run = alone(waiting, job, out) if min(jobs, len(waiting)) < 2 else spread(waiting, job, out, jobs)
    try:
        for cell, result, seconds in run:
            home.check_there()
            if isinstance(result, str):
                failed[cell] = result
            else:
                found[cell] = result
            if not progress.quiet:
                progress.console.print(printable(line(cell, job, result, seconds)), highlight=False, markup=False)
            progress.step()
    except KeyboardInterrupt as error:
        raise Interrupted(f"{out} keeps the finished cells; --resume computes the others") from error
    return found, failed


def alone(cells: Sequence[C], job: Job[C], out: Path) -> Iterator[tuple[C, Found | str, float]]:
    """One cell after the other, in this process."""
    threads = torch.get_num_threads()
    try:
        for cell in cells:
            yield work(cell, job, out)
    finally:
        torch.set_num_threads(threads)


def spread(cells: Sequence[C], job: Job[C], out: Path, jobs: int) -> Iterator[tuple[C, Found | str, float]]:
    """Several cells at a time, in processes with one thread each."""
    with interruptible() as interrupted, workers(min(jobs, len(cells))) as pool:
        pending = {pool.submit(work, cell, job, out) for cell in cells}
        while pending:
            ended, pending = wait(pending, POLL, FIRST_COMPLETED)
            if interrupted():
                raise KeyboardInterrupt
            try:
                yield from (future.result() for future in ended)
            except BrokenProcessPool as error:
                raise UserError(
                    "a process was killed, for want of memory perhaps: go on with --resume and a smaller --jobs"
                ) from error


def work(cell: C, job: Job[C], out: Path) -> tuple[C, Found | str, float]:
    """A cell, or why it failed, and the seconds that it took."""
    began = time.monotonic()
    try:
        with hushed(True):
            torch.set_num_threads(1)
            found: Found | str = kept(cell, job, out)
    except UserError as error:
        found = str(error)
    return cell, found, time.monotonic() - began


def line(cell: C, job: Job[C], found: Found | str, seconds: float) -> str:
    """What is printed when a cell has ended."""
    if isinstance(found, str):
        return f"{cell.label}: failed: {found}"
    return f"{cell.label}: {job.line(cell, found)}, {seconds:.0f} s"
