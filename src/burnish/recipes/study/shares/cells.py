"""The study's cells: some pairs that the judge has labelled, and an ensemble of reward models for a share."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from burnish.config import Settings
from burnish.evaluation.preferences import accuracy_scores
from burnish.recipes.constitution.run import constitution
from burnish.recipes.label.pairs import Pair
from burnish.recipes.label.plan import shuffled
from burnish.recipes.label.selected import margins_of
from burnish.recipes.study.cell import Found, known
from burnish.recipes.study.replay import pairs_of, trained
from burnish.recipes.study.shares.plan import Plan
from burnish.run import UserError, write_atomically

Better = Mapping[int, float | None]
"""By the number of a pair the judge's probability that the chosen answer is better; None where it was not read."""


@dataclass(frozen=True)
class Chunk:
    """Pairs that the judge is asked about: of all that the study asks about, those from number `begin` on."""

    begin: int

    @property
    def name(self) -> str:
        return f"judge/{self.begin:05d}"

    @property
    def label(self) -> str:
        return f"the judge, from pair {self.begin + 1:,}"


@dataclass(frozen=True)
class Cell:
    """Reward models that learn from labels of which the judge's are this share."""

    seed: int
    share: float

    @property
    def name(self) -> str:
        return f"seed-{self.seed}/share-{self.share:g}"

    @property
    def label(self) -> str:
        return f"seed {self.seed}, {self.share:.0%} of the judge"


@dataclass(frozen=True)
class Judging:
    """What asks the judge, as `burnish constitution` does."""

    plan: Plan

    def compute(self, cell: Chunk, out: Path, work: Path) -> Found:
        began = time.process_time()
        pairs, rows = pool(), chunk_of(cell, self.plan)
        data = work / "pairs.jsonl"
        lines = [{"prompt": one.prompt, "chosen": one.a, "rejected": one.b} for one in (pairs[row] for row in rows)]
        write_atomically(data, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        base = Settings(device="cpu", threads=1, quiet=True)
        made = constitution(str(data), [self.plan.principle], self.plan.judge, work / "labels.jsonl", base=base)
        better = better_of(made.rows, [line["chosen"] for line in lines])
        return {"rows": rows, "better": better, "seconds": time.process_time() - began}

    def is_whole(self, cell: Chunk, found: Found) -> bool:
        rows = chunk_of(cell, self.plan)
        return found.get("rows") == rows and len(found.get("better", ())) == len(rows)

    def line(self, cell: Chunk, found: Found) -> str:
        read = [one for one in found["better"] if one is not None]
        return (
            f"agrees with people on {accuracy_scores(np.array(read) - 0.5).mean():.0%}" if read else "nothing is read"
        )


@dataclass(frozen=True)
class Training:
    """What trains the reward models on labels of both, and measures them."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        began = time.process_time()
        pairs, held, better = pool(), pairs_of("held_out", self.plan.held_out), judged(self.plan, out)
        people, judge = rows_of(cell, self.plan)
        labels = [line_of(pairs[row], 1.0) for row in people]
        labels += [line_of(pairs[row], one) for row in judge if (one := better[row]) is not None]
        if not labels:
            raise UserError(f"{cell.label}: the judge has labelled none of its pairs; choose another --judge")
        base = Settings(device="cpu", threads=1, quiet=True)
        runs = trained(self.plan, labels, cell.seed, work)
        margins = np.stack([margins_of(run, held, base) for run in runs])
        return {
            "people": len(people),
            "judged": len(labels) - len(people),
            "right": accuracy_scores(margins.mean(0)).tolist(),
            "alone": [float(accuracy_scores(one).mean()) for one in margins],
            "seconds": time.process_time() - began,
        }

    def is_whole(self, cell: Cell, found: Found) -> bool:
        return found.get("people") == self.plan.labels(cell.share)[0] and len(found.get("right", ())) > 0

    def line(self, cell: Cell, found: Found) -> str:
        return f"{np.mean(found['right']):.1%} of held-out comparisons"


@cache
def pool() -> tuple[Pair, ...]:
    """The comparisons that are labelled. The answer a is the one that the rater chose."""
    return tuple(pairs_of("train"))


def rows_of(cell: Cell, plan: Plan) -> tuple[list[int], list[int]]:
    """The numbers of the pairs that people label and that the judge labels: of the seed's random order the first ones
    and those behind them."""
    people, judge = plan.labels(cell.share)
    order = shuffled(len(pool()), "study", cell.seed)
    if people + judge > len(order):
        raise UserError(f"{cell.label}: {people + judge:,} labels are needed, and there are only {len(order):,} pairs")
    return order[:people], order[people : people + judge]


@cache
def asked(plan: Plan) -> tuple[int, ...]:
    """The numbers of all pairs that the judge labels in any cell."""
    return tuple(sorted({row for cell in cells(plan) for row in rows_of(cell, plan)[1]}))


def cells(plan: Plan) -> list[Cell]:
    return [Cell(seed, share) for seed in range(plan.seeds) for share in plan.shares]


def chunks(plan: Plan) -> list[Chunk]:
    return [Chunk(plan.chunk * number) for number in range(math.ceil(len(asked(plan)) / plan.chunk))]


def chunk_of(cell: Chunk, plan: Plan) -> list[int]:
    return list(asked(plan)[cell.begin : cell.begin + plan.chunk])


def judged(plan: Plan, out: Path) -> Better:
    """What the judge says of all pairs that it was asked about. Raises UserError where a chunk is not there."""
    better: dict[int, float | None] = {}
    for chunk in chunks(plan):
        if (found := known(chunk, Judging(plan), out)) is None:
            raise UserError(f"{chunk.label}: is not there, and reward models learn from it")
        better |= dict(zip(found["rows"], found["better"], strict=True))
    return better


def better_of(labels: Sequence[Mapping[str, Any]], chosen: Sequence[Any]) -> list[float | None]:
    """By the judge's labels the probability that what people have `chosen` is better; None for a row without one."""
    found: list[float | None] = [None] * len(chosen)
    for label in labels:
        right = label["chosen"] == chosen[label["row"]]
        found[label["row"]] = label["confidence"] if right else 1 - label["confidence"]
    return found


def line_of(pair: Pair, better: float) -> dict[str, Any]:
    """A label: the answer that is better with this probability."""
    chosen, rejected = (pair.a, pair.b) if better >= 0.5 else (pair.b, pair.a)
    return {"prompt": pair.prompt, "chosen": chosen, "rejected": rejected, "confidence": max(better, 1 - better)}
