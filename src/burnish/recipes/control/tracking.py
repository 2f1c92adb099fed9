"""The trackers of a group of runs in lockstep: each run is a run of its own there, as if it were trained alone."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import groupby
from statistics import fmean
from typing import Any, Protocol

from burnish.experience.control.player import Episode, Ledger
from burnish.run import RunFolder, printable
from burnish.run.trackers import Trackers


class LearnsByRun(Protocol):
    """A learner that knows the metrics of each run."""

    def recorded_by_run(self) -> dict[int, dict[str, float]]: ...


@contextmanager
def followed(
    group: RunFolder,
    track: str | None,
    runs: Mapping[int, tuple[str, dict[str, Any]]],
    learner: LearnsByRun,
    ledger: Ledger,
    quiet: bool = False,
) -> Iterator[Callable[[], None]]:
    """Follow every run of a group in the trackers `track`; `runs` has names and configurations by number.

    A run has a folder of its own in the group's, whose `metrics.jsonl` has what the trackers get. Steps count the run's
    environment steps. The function that is yielded is to be called after each rollout. A tracker that fails for one run
    is not started for the others: each might wait as long for a server that is not there.
    """
    if not track:
        yield lambda: None
        return
    said: set[str] = set()

    def say(message: str) -> None:
        if not quiet and message not in said:
            said.add(message)
            print(printable(message), file=sys.stderr)

    with ExitStack() as stack:
        folders: dict[int, RunFolder] = {}
        names = track.split(",")
        for number, (name, config) in runs.items():
            folders[number] = stack.enter_context(RunFolder.open(group.path / name))
            folders[number].claim(config)
            trackers = stack.enter_context(Trackers(folders[number], ",".join(names), say))
            trackers.start(config, 0)
            names = [one for one in names if one not in trackers.failed]
        diary = Diary(folders, learner, ledger)
        group.listeners.append(diary.heard)
        yield diary.write
        diary.write()


class Diary:
    """Appends the learner's metrics and the finished episodes to the folders of the runs, in the order of their steps:
    of the updates on one rollout the last that is logged, and of episodes that end together the mean."""

    def __init__(self, folders: Mapping[int, RunFolder], learner: LearnsByRun, ledger: Ledger) -> None:
        self.folders, self.learner, self.ledger = folders, learner, ledger
        self.waiting: dict[int, dict[str, float]] = {}
        self.written = 0

    def heard(self, name: str, record: dict[str, Any]) -> None:
        """Keep each run's part of a record of the group's metrics."""
        if name == "metrics":
            steps = dict(zip(self.ledger.names.tolist(), self.ledger.steps.tolist(), strict=True))
            found = self.learner.recorded_by_run()
            self.waiting |= {run: {"step": steps[run]} | own for run, own in found.items() if run in steps}

    def write(self) -> None:
        """Append what is new."""
        for run, record in self.waiting.items():
            self.folders[run].append("metrics", record)
        self.waiting = {}
        new, self.written = self.ledger.finished[self.written :], len(self.ledger.finished)
        for (run, step), together in groupby(sorted(new, key=order), key=order):
            episodes = list(together)
            record = {"step": step, "episode": episodes[-1].episode}
            record |= {
                "return": fmean(one.return_ for one in episodes),
                "length": fmean(one.length for one in episodes),
            }
            self.folders[run].append("metrics", record)


def order(episode: Episode) -> tuple[int, int]:
    return episode.run, episode.steps
