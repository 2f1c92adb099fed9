"""What turns a drawn batch into updates: gradient steps, runs in lockstep, and a trust region each in their own way."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from burnish.training.resume import State


@runtime_checkable
class Learner(Protocol):
    """What the loop does with a drawn batch; `dropout` says whether it may be on in an update."""

    dropout: bool

    def prepare(self, batch: Any, state: State) -> Any:
        """The batch with everything that its updates keep fixed."""
        ...

    def minibatches(self, batch: Any, state: State) -> Iterator[Any]:
        """The parts of a prepared batch, one per update."""
        ...

    def update(self, part: Any, state: State, first: bool) -> dict[str, Any] | None:
        """One update and its metrics; None, and no update, where the rest of the batch is to be skipped.

        `first` says whether this is the batch's first update. Raises UserError where loss or gradient is not finite.
        """
        ...

    def conclude(self, batch: Any, state: State) -> None:
        """Keep what the next batch depends on, such as a coefficient that adapts."""
        ...

    def note(self, metrics: dict[str, Any], state: State) -> None:
        """Keep an update's metrics for the next row of metrics.jsonl; its rollout's are among those of the first."""
        ...

    def record(self, state: State) -> dict[str, float]:
        """A row of metrics.jsonl about the updates noted since the one before."""
        ...

    def pace(self, seconds: float) -> dict[str, Any]:
        """What timings.jsonl says of the updates since the row before, which took so many seconds."""
        ...

    def save(self, state: State, goes_on: bool = False) -> None:
        """Write a checkpoint, which may be finished later where the run `goes_on`."""
        ...
