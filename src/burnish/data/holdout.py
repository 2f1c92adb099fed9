"""Rows of a data set that are kept for evaluation and never trained on.

Which ones depends on their content and the seed alone, not on their order: rows that repeat another one stay with it,
and so do the two rows of feedback that come from one pair.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace

from burnish.data.adapters import Reading
from burnish.data.formats import Example
from burnish.run import UserError


@dataclass(frozen=True)
class Holdout:
    """The `share` of the rows that is held out, or with `held` False the others."""

    share: float
    seed: int
    held: bool

    def part(self, reading: Reading, name: str) -> Reading:
        """The examples of this part; the others count `held_out` rows as left out.

        Raises UserError for data with too few rows to be split.
        """
        examples = list(reading.examples)
        contents: dict[int, str] = {}
        for example in examples:
            contents.setdefault(example.row // reading.per_row, content(example))
        chosen = self.chosen(Counter(contents.values()))
        if len(chosen) == len(set(contents.values())):
            raise UserError(
                f"{name}: holdout {self.share:g} of {len(contents)} rows leaves none to train on; make it smaller or "
                "use more rows."
            )
        kept = [one for one in examples if (contents[one.row // reading.per_row] in chosen) == self.held]
        if not self.held:
            reading.left_out["held_out"] += len(examples) - len(kept)
        return replace(reading, examples=iter(kept))

    def chosen(self, rows: Counter[str]) -> set[str]:
        """The contents that are held out: as many rows as the share says, at least one."""
        wanted = max(1, round(self.share * rows.total()))
        chosen: set[str] = set()
        count = 0
        for one in sorted(rows, key=lambda text: hashlib.sha256(f"holdout {self.seed} {text}".encode()).digest()):
            if count >= wanted:
                break
            chosen.add(one)
            count += rows[one]
        return chosen


def content(example: Example) -> str:
    """What a row says, as a hash: rows of the same content are the same."""
    said = json.dumps([example.prompt, example.responses], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()
