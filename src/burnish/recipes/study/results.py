"""A study computed stage by stage, with a summary that is written on the way."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic

from burnish.recipes.study.cell import WORK, C, Found, Job, known
from burnish.recipes.study.folder import reasons
from burnish.recipes.study.pool import computed
from burnish.run import RunFolder, UserError, remove_folder_atomically
from burnish.training.loop import Interrupted
from burnish.training.progress import Progress

Summary = dict[str, Any]


@dataclass
class Results(Generic[C]):
    """What was found of a study's cells, and why others failed. `publish` writes what is known so far, and returns its
    summary, or None before there is anything to show."""

    job: Job[C]
    run: RunFolder
    jobs: int
    progress: Progress
    publish: Callable[["Results[C]"], Summary | None]
    found: dict[C, Found] = field(default_factory=dict)
    failed: dict[C, str] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, str]:
        return {cell.label: reason for cell, reason in self.failed.items()}

    def stage(self, cells: Sequence[C]) -> None:
        """Compute cells that need none of each other. Raises Interrupted; what is finished is then known all the
        same."""
        try:
            found, failed = computed(cells, self.job, self.run, self.jobs, self.progress)
        except Interrupted:
            self.found |= {cell: one for cell in cells if (one := known(cell, self.job, self.run.path)) is not None}
            raise
        self.found |= found
        self.failed |= failed

    def write(self) -> Summary | None:
        return self.publish(self)


def staged(
    opened: AbstractContextManager[RunFolder],
    job: Job[C],
    total: int,
    jobs: int,
    quiet: bool,
    stages: Callable[[Results[C]], None],
    publish: Callable[[Results[C]], Summary | None],
) -> tuple[Summary, Mapping[str, str]]:
    """Compute a study of `total` cells in the folder that is `opened`: its summary, and why cells failed.

    What is known is published when all is computed, and when Ctrl-C ends the study. Raises Interrupted then, and
    UserError where nothing was computed.
    """
    with opened as run:
        with Progress("study", total, quiet=quiet) as progress:
            results = Results(job, run, jobs, progress, publish)
            try:
                stages(results)
            except Interrupted:
                results.write()
                raise
        remove_folder_atomically(run.path / WORK)
        summary = results.write()
    if summary is None:
        raise UserError(f"nothing was computed: {reasons(results.failures)}")
    return summary, results.failures
