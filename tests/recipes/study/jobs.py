"""A study without models: a cell is a number, and what is found is its square."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.run import UserError


@dataclass(frozen=True)
class Number:
    number: int

    @property
    def name(self) -> str:
        return f"numbers/{self.number}"

    @property
    def label(self) -> str:
        return f"number {self.number}"


@dataclass(frozen=True)
class Squares:
    """Fails at 13, and is killed at -1; `before` is what lay in the work folder."""

    killed_by: type[BaseException] = KeyboardInterrupt

    def compute(self, cell: Number, out: Path, work: Path) -> dict[str, Any]:
        if cell.number == 13:
            raise UserError("13 is unlucky")
        if cell.number < 0:
            raise self.killed_by
        return {"square": cell.number**2, "before": [one.name for one in work.iterdir()]}

    def is_whole(self, cell: Number, found: dict[str, Any]) -> bool:
        return "square" in found

    def line(self, cell: Number, found: dict[str, Any]) -> str:
        return f"its square is {found['square']}"
