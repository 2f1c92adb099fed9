"""What the trainings of a study cost."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from burnish.recipes.study.cell import Found

COSTS = ("seconds", "wall", "sampled", "learned")


class Learned(Protocol):
    """A cell of a training: of a `seed`, None for the start that all have; by a `method`, None for a reward model."""

    @property
    def seed(self) -> int | None: ...

    @property
    def method(self) -> str | None: ...


C = TypeVar("C", bound=Learned)


def costs_of(found: Mapping[C, Found]) -> dict[str, dict[str, Any]]:
    """CPU and wall-clock seconds, and tokens sampled and learned from, of a training: means over a method's cells that
    did not diverge, of which there are `runs`. Measuring is not in them; the samples of the best of n are those of the
    held-out prefixes. `reward` is a reward model's, `start` the start's with its pairs."""
    groups: dict[str, list[Found]] = {}
    for cell, one in found.items():
        if one.get("diverged") is None:
            groups.setdefault(cell.method or ("start" if cell.seed is None else "reward"), []).append(one)
    return {
        name: {key: average([one.get(key) for one in ones]) for key in COSTS} | {"runs": len(ones)}
        for name, ones in groups.items()
    }


def average(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is not known."""
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
