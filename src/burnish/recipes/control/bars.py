"""Progress of groups of runs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from burnish.evaluation.returns import label
from burnish.recipes.control.group import RunGroup


class Bars:
    """One progress bar per algorithm on standard error; without a terminal one line per finished group."""

    def __init__(self, groups: Sequence[RunGroup], quiet: bool) -> None:
        self.console, self.quiet = Console(stderr=True), quiet
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + ("episodes" if groups[0].episodes else "steps")),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console, disable=quiet or not self.console.is_terminal)
        self.groups, self.counts = groups, {group.name: 0 for group in groups}
        totals: dict[str, int] = {}
        for group in reversed(groups):
            totals[group.method.name] = totals.get(group.method.name, 0) + group.length * len(group.seeds)
        self.tasks = {name: self.bars.add_task(label(name), total=total) for name, total in totals.items()}

    def __enter__(self) -> "Bars":
        self.bars.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.bars.stop()

    def set(self, group: RunGroup, episodes: int) -> None:
        """Set the number of the group's finished episodes, or of its steps."""
        self.counts[group.name] = episodes
        name = group.method.name
        done = sum(self.counts[other.name] for other in self.groups if other.method.name == name)
        self.bars.update(self.tasks[name], completed=done)

    def done(self, group: RunGroup, seconds: float) -> None:
        self.set(group, group.length * len(group.seeds))
        if not self.quiet and not self.console.is_terminal:
            runs = f"runs {group.first} to {group.last}" if group.last > group.first else f"run {group.first}"
            self.console.print(f"{group.method.name}, {runs}: {seconds:.0f} s", highlight=False)
