"""Several rewards as one: a weighted sum, of which each part is logged apart."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.rewards.completed import Completed, Reward, checked_scores
from burnish.run import UserError

_WEIGHT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Weighted:
    """score = Σᵢ wᵢ·rᵢ, the members' scores checked one by one. A weight of 0 only logs.

    `keys` name the members in metrics; all are different.
    """

    name: str
    members: tuple[Reward, ...]
    weights: tuple[float, ...]
    keys: tuple[str, ...]

    def __call__(self, completed: Completed) -> Sequence[float]:
        return self.total(self.apart(completed))

    def apart(self, completed: Completed) -> dict[str, list[float]]:
        """Each member's own scores, without its weight."""
        return {key: checked_scores(member, completed) for key, member in zip(self.keys, self.members, strict=True)}

    def total(self, apart: dict[str, list[float]]) -> list[float]:
        """The sum of scores of `apart`, with weights."""
        rows = zip(*apart.values(), strict=True)
        return [math.fsum(w * x for w, x in zip(self.weights, row, strict=True)) for row in rows]


def read_weighted(text: str) -> tuple[list[str], list[float]]:
    """The rewards that a text names, and their weights, 1 where it gives none: `match:1,format:0.2`.

    A comma inside brackets, or after a backslash, is part of a name, as in `regex:a{1,2}`. Where several rewards are
    named, a number after the last colon is a weight. Raises UserError for an empty part, and for weights of some only.
    """
    pieces = split(text)
    if "" in pieces:
        raise UserError(f"--reward {text} has an empty part: write names separated by single commas")
    if len(pieces) == 1:
        return pieces, [1.0]
    parts = [piece.rpartition(":") for piece in pieces]
    weighted = [bool(colon) and bool(_WEIGHT.fullmatch(last)) for _, colon, last in parts]
    if not any(weighted):
        return pieces, [1.0] * len(pieces)
    if not all(weighted):
        raise UserError(
            f"--reward {text}: {pieces[weighted.index(False)]} has no weight, but others have one: give every reward a "
            "weight, or none"
        )
    weights = [float(last) for _, _, last in parts]
    if not all(map(math.isfinite, weights)) or not any(weights):
        raise UserError(f"--reward {text}: the weights must be finite numbers, and not all 0")
    return [name for name, _, _ in parts], weights


def split(text: str) -> list[str]:
    """The text at its commas outside brackets that no backslash precedes."""
    pieces, depth, start, place = [], 0, 0, 0
    while place < len(text):
        one = text[place]
        if one == "\\":
            place += 1
        elif one in _OPENING:
            depth += 1
        elif one in _CLOSING:
            depth = max(0, depth - 1)
        elif one == "," and not depth:
            pieces.append(text[start:place].strip())
            start = place + 1
        place += 1
    return [*pieces, text[start:].strip()]


def keys_of(names: Sequence[str]) -> tuple[str, ...]:
    """A short name for each reward: what stands before the first colon, of a path its last part; numbered if equal."""
    found: list[str] = []
    for name in names:
        short = name.rstrip("/").partition(":")[0].rpartition("/")[2]
        same = sum(one == short or one.startswith(f"{short}_") for one in found)
        found.append(f"{short}_{same + 1}" if same else short)
    return tuple(found)
