"""People's built-in comparisons, replayed: in which order, and ensembles of reward models that learn from labels."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import builtin
from burnish.recipes.label.pairs import Pair
from burnish.recipes.label.plan import shuffled
from burnish.recipes.study.cell import SHARED
from burnish.recipes.train.run import run_training
from burnish.run import write_atomically

MEMBERS_A_SEED = 100
"""Seeds of members: this times the study's seed, and the member's number."""


class Sizes(Protocol):
    """Protocol of a plan that says how `members` reward models are trained."""

    @property
    def model(self) -> str: ...

    @property
    def members(self) -> int: ...

    @property
    def epochs(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def max_length(self) -> int: ...


def pairs_of(part: str, limit: int | None = None) -> list[Pair]:
    """The comparisons of a part in a random order; the answer a is the one that the rater chose."""
    rows = builtin.comparisons(part)
    texts = zip(rows["prompt"], rows["chosen"], rows["rejected"], strict=True)
    pairs = [Pair(i, *one) for i, one in enumerate(texts)]
    return [pairs[i] for i in shuffled(len(pairs), "study", part)[:limit]]


def trained(plan: Sizes, labels: Sequence[Mapping[str, Any]], seed: int, work: Path) -> list[Path]:
    """The run folders of the members that learned from these labels, in `work`."""
    data = work / "labels.jsonl"
    write_atomically(data, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in labels))
    found = []
    for member in range(plan.members):
        options = SHARED | {
            "out": str(work / f"member-{member}"),
            "model": plan.model,
            "data": str(data),
            "seed": MEMBERS_A_SEED * seed + member,
            "steps": plan.epochs * math.ceil(len(labels) / plan.batch_size),
            "batch_size": plan.batch_size,
            "learning_rate": plan.learning_rate,
            "max_length": plan.max_length,
            "save_every": 0,
        }
        run_training(*build(load("reward"), options))
        found.append(work / f"member-{member}")
    return found
