"""What a tracker is, and what it is told about the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Place:
    """The run that a tracker follows.

    `config` is the run's configuration without secrets. In a resumed run `step` is the step that it goes on from,
    `written` the last step in `metrics.jsonl` when the earlier process ended, and `noted` what this tracker left in
    `trackers.json`; in a new run, and for a tracker that is new to a resumed one, they are 0, 0 and None.
    """

    folder: Path
    config: dict[str, Any]
    step: int = 0
    written: int = 0
    noted: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.resolve().name


@runtime_checkable
class Tracker(Protocol):
    """A run in a tracker. Each tracker's module has a function `start(place)` that returns one.

    `known` is the last step whose metrics it already has: these are not sent again. `noted` is what `start` needs to
    find the same run again when this one is resumed.
    """

    known: int
    noted: dict[str, Any]

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Record the finite numbers of one step. Steps only go up."""
        ...

    def table(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Record the samples of a rollout as a table. `step` is the last one whose metrics were recorded."""
        ...

    def close(self, failed: bool) -> None:
        """End the run; `failed` says whether an error or Ctrl-C ended it."""
        ...
