"""Sends what a run folder appends to its trackers. A tracker that fails is left out, and the run goes on."""

import contextlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import TracebackType
from typing import Any

from burnish.run.atomic import write_atomically
from burnish.run.folder import RunFolder
from burnish.run.records import read_jsonl, read_mapping
from burnish.run.trackers.interface import Place, Tracker
from burnish.run.trackers.names import TRACKERS, tracker_names
from burnish.run.user_code import described

NOTES = "trackers.json"
"""Which run of each tracker belongs to the run folder."""


class Trackers:
    """The trackers of one run, closed at the end of a `with` block, however it ends.

    `text` has their names, separated by commas; None or "" is none. `say` shows a warning to the user, and `failed` has
    the names of those that were left out.
    """

    def __init__(self, run: RunFolder, text: str | None, say: Callable[[str], None]) -> None:
        self._run, self._say = run, say
        self._names = tracker_names(text) if text else ()
        self._written = self._read("metrics")[-1:] if self._names else []
        self._following: dict[str, Tracker] = {}
        self.failed: set[str] = set()
        self._rows: list[dict[str, Any]] = []
        self._step = 0

    def start(self, config: dict[str, Any], step: int) -> None:
        """Start every tracker, or continue its run; send what it lacks of the run's files, and all that is appended
        from now on. See `Place` for the arguments."""
        if not self._names:
            return
        run, written = self._run, self._written[0]["step"] if self._written else 0
        notes = read_mapping(run.path / NOTES) if run.resumed and (run.path / NOTES).exists() else {}
        for name in self._names:
            noted = notes.get(name)
            place = Place(run.path, config, step, written, noted) if noted else Place(run.path, config)
            with self._guarded(name), muted():
                self._following[name] = import_module(TRACKERS[name].module).start(place)
        notes |= {name: tracker.noted for name, tracker in self._following.items()}
        write_atomically(run.path / NOTES, json.dumps(notes, indent=2) + "\n")
        if run.resumed:
            self._catch_up()
        run.listeners.append(self.record)

    def record(self, name: str, record: dict[str, Any]) -> None:
        """Send one record of the run's metrics or samples. Samples wait for the next metrics: they are one table."""
        if name == "samples":
            self._rows.append(record)
        elif name == "metrics":
            self._send_rows()
            self._step, values = record["step"], finite_numbers(record)
            for each, tracker in [*self._following.items()]:
                if self._step > tracker.known:
                    with self._guarded(each):
                        tracker.metrics(self._step, values)

    def _send_rows(self) -> None:
        rows, self._rows = self._rows, []
        for name, tracker in [*self._following.items()]:
            if rows and self._step > tracker.known:
                with self._guarded(name):
                    tracker.table(self._step, rows)

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self._run.path / f"{name}.jsonl"
        return read_jsonl(path) if path.exists() else []

    def _catch_up(self) -> None:
        """Send the records of an earlier process; each tracker takes those that it lacks."""
        for name, record in in_order(self._read("metrics"), self._read("samples")):
            self.record(name, record)
        self._send_rows()

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Warn of an error in a tracker and leave the tracker out from then on."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self._following.pop(name, None)
            self.failed.add(name)
            self._say(
                f"warning: the tracker {name} failed ({described(error)}): the run goes on without it, and its "
                "metrics.jsonl and samples.jsonl are complete"
            )

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._send_rows()
        for name, tracker in [*self._following.items()]:
            with self._guarded(name), muted():
                tracker.close(failed=kind is not None)
        self._following.clear()


def finite_numbers(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record that a tracker can draw, without the step."""
    numbers = {key: value for key, value in record.items() if isinstance(value, int | float) and key != "step"}
    return {key: value for key, value in numbers.items() if not isinstance(value, bool) and math.isfinite(value)}


def in_order(metrics: Iterable[dict[str, Any]], samples: Iterable[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The records of a run in the order in which it appended them: a rollout's samples, which bear the step before it,
    follow the metrics of its last step."""
    samples = list(samples)
    labels = sorted({sample["step"] for sample in samples})
    last = dict(zip(labels, [*labels[1:], math.inf], strict=True))
    records = [(record["step"], "metrics", record) for record in metrics]
    records += [(last[sample["step"]], "samples", sample) for sample in samples]
    return [(name, record) for _, name, record in sorted(records, key=lambda one: one[:2])]


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Let a tracker neither print nor ask for anything in the terminal, such as a password."""
    before = sys.stdin
    with (
        open(os.devnull, encoding="utf-8") as nothing,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before
