"""The study's cells: an ensemble of reward models that has learned from so many labels in one of the orders."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.config import Settings
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.reward_models import disagreement
from burnish.recipes.label.pairs import Pair
from burnish.recipes.label.plan import Selection, shuffled
from burnish.recipes.label.selected import margins_of, ranked
from burnish.recipes.study.cell import Found, known
from burnish.recipes.study.replay import pairs_of, trained
from burnish.recipes.study.selection.plan import ORDERS, RANDOM, RENEWED, Plan
from burnish.run import UserError


@dataclass(frozen=True)
class Cell:
    """So many labels in an order; the first ones, which are the same in all orders, have none."""

    seed: int
    labels: int
    order: str | None = None

    @property
    def name(self) -> str:
        return f"seed-{self.seed}/" + ("first" if self.order is None else f"{self.order}-{self.labels}")

    @property
    def label(self) -> str:
        which = "the first" if self.order is None else ORDERS[self.order].lower() + ","
        return f"seed {self.seed}, {which} {self.labels:,} labels"

    def before(self, plan: Plan) -> "Cell | None":
        """The cell whose models select for this one: the first, or in the renewed order that with fewer labels."""
        if self.order is None:
            return None
        fewer = [number for number in plan.labels if number < self.labels]
        if self.order == RENEWED and fewer:
            return Cell(self.seed, max(fewer), RENEWED)
        return Cell(self.seed, plan.first)


@dataclass(frozen=True)
class Replay:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        began = time.process_time()
        pairs, held = pool_of(self.plan), held_out(self.plan)
        rows = rows_of(cell, self.plan, len(pairs), None if cell.order is None else self.selector(cell, out))
        base = Settings(device="cpu", threads=1, quiet=True)
        labels = [{"prompt": one.prompt, "chosen": one.a, "rejected": one.b} for one in (pairs[row] for row in rows)]
        runs = trained(self.plan, labels, cell.seed, work)
        margins = np.stack([margins_of(run, held, base) for run in runs])
        found: Found = {
            "rows": rows,
            "right": accuracy_scores(margins.mean(0)).tolist(),
            "alone": [float(accuracy_scores(one).mean()) for one in margins],
        }
        if self.selects(cell):
            spread = disagreement(np.stack([margins_of(run, pairs, base) for run in runs]))
            found["ranked"] = ranked(spread)
        return found | {"seconds": time.process_time() - began}

    def selects(self, cell: Cell) -> bool:
        """Whether another cell's pairs are selected by this one's models."""
        last = cell.labels == max(self.plan.labels)
        return cell.order is None or (cell.order == RENEWED and not last)

    def selector(self, cell: Cell, out: Path) -> Found:
        """What was found of the cell whose models select for this one."""
        before = cell.before(self.plan)
        assert before is not None
        if (found := known(before, self, out)) is None:
            raise UserError(f"{before.label}: is not there, and its models select these pairs")
        return found

    def is_whole(self, cell: Cell, found: Found) -> bool:
        return len(found.get("rows", ())) == cell.labels and ("ranked" in found) == self.selects(cell)

    def line(self, cell: Cell, found: Found) -> str:
        return f"{np.mean(found['right']):.1%} of held-out comparisons"


def pool_of(plan: Plan) -> list[Pair]:
    """The comparisons that may be labelled. The answer a is the one that the rater chose; no model sees which that is
    before the pair is labelled."""
    return pairs_of("train", plan.pool)


def held_out(plan: Plan) -> list[Pair]:
    return pairs_of("held_out", plan.held_out)


def rows_of(cell: Cell, plan: Plan, pairs: int, selector: Found | None) -> list[int]:
    """The numbers of the pairs that are labelled: the first at random, and then in the cell's order.

    `selector` is what was found of the cell whose models select. What it has labelled stays.
    """
    if cell.labels > pairs:
        raise UserError(f"{cell.label}: the pool has only {pairs:,} pairs")
    order = shuffled(pairs, "study", cell.seed)
    if selector is None or cell.order == RANDOM:
        return order[: cell.labels]
    had = [int(row) for row in selector["rows"]]
    rest = {*range(pairs)} - {*had}
    selection = Selection(tuple(row for row in selector["ranked"] if row in rest), plan.random_share)
    return had + selection.mixed([row for row in order if row in rest])[: cell.labels - len(had)]
