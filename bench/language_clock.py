"""Clocks of one process of bench/language.py, and the job that it is given."""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """What one process does: a work with one side's libraries.

    `made` has the models and rows, `folder` is the process's own, and `noted` is the file in which Burnish's side
    writes which rows each update had, and the peer's reads it.
    """

    work: str
    size: str
    precision: str
    threads: int
    made: str
    folder: str
    noted: str

    def rows(self, kind: str, count: int) -> Path:
        return Path(self.made) / f"{kind}-{count}.jsonl"

    def model(self, scorer: bool = False) -> str:
        return str(Path(self.made) / (f"{self.size}-scorer" if scorer else self.size))


@dataclass
class Clock:
    """Wall time and the process's seconds on a core, from `start` to `stop`, and of the whole work around them."""

    began: tuple[float, float] = field(default_factory=lambda: now())
    started: tuple[float, float] | None = None
    stopped: tuple[float, float] | None = None

    def start(self) -> None:
        self.started = now()

    def stop(self) -> None:
        self.stopped = now()

    def figures(self) -> dict[str, float]:
        """Seconds of training (or sampling) and of the whole, and the peak of resident memory in MB."""
        assert self.started is not None
        assert self.stopped is not None
        ended = now()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "seconds": self.stopped[0] - self.started[0],
            "core_seconds": self.stopped[1] - self.started[1],
            "whole_seconds": ended[0] - self.began[0],
            "peak_mb": peak / (1e6 if sys.platform == "darwin" else 1e3),
        }


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def answer(run: Callable[[Job], dict[str, Any]]) -> None:
    """Do the job that the command line has as JSON, and print what it found as the last line."""
    print("\n" + json.dumps(run(Job(**json.loads(sys.argv[1])))))
