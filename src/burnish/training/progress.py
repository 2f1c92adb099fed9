"""A progress bar with the numbers that matter."""

from contextlib import ExitStack
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from burnish.run import printable, said_if_slow

T = TypeVar("T")
SHOWN = {
    "loss": "loss",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "accuracy": "accuracy",
    "objective/scores": "score",
    "objective/kl": "KL",
    "eval_loss": "eval loss",
}


class Progress:
    """A progress bar on standard error; without a terminal a line per tenth of the way, and one at the beginning if the
    first of them is slow to come; nothing if quiet."""

    def __init__(self, title: str, total: int, start: int = 0, quiet: bool = False) -> None:
        self.title, self.total, self.done, self.quiet = printable(title), total, start, quiet
        self.console = Console(stderr=True)
        self.seen: dict[str, str] = {}
        columns = (
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=self.console, disable=quiet or not self.console.is_terminal)
        self.waiting = ExitStack()
        self.task = self.bar.add_task(self.title, total=total, completed=start, numbers="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        begun = f"{self.title} {self.done}/{self.total}"
        self.waiting.enter_context(said_if_slow(begun, quiet=self.quiet or self.console.is_terminal))
        return self

    def __exit__(self, *exception: Any) -> None:
        self.waiting.close()
        self.bar.stop()

    def step(self, record: dict[str, Any] | None = None) -> None:
        """Count one unit of work; `record` has the numbers to show."""
        self.done += 1
        if self.quiet:
            return
        found = record or {}
        for key, label in SHOWN.items():
            if key in found:
                value = found[key] if abs(found[key]) > 1e-6 else 0.0
                when = f" (step {found['step']})" if key.startswith("eval_") else ""  # it stays until the next one
                self.seen[label] = f"{label} {value:.4g}{when}"
        numbers = " ".join(self.seen.values())
        self.bar.update(self.task, advance=1, numbers=numbers)
        if not self.console.is_terminal and self.done % max(1, self.total // 10) == 0:
            self.waiting.close()
            self.console.print(
                f"{self.title} {self.done}/{self.total} {numbers}".rstrip(), highlight=False, markup=False
            )

    def passing(self, item: T) -> T:
        """Count an item of an iterator and return it."""
        self.step()
        return item
