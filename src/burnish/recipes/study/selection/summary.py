"""The study's numbers: accuracy by the number of labels and the order, with differences from the random one."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.data import builtin
from burnish.recipes.study.cell import Found
from burnish.recipes.study.intervals import interval_of
from burnish.recipes.study.selection.cells import Cell
from burnish.recipes.study.selection.plan import ORDERS, RANDOM, Plan


def stages(plan: Plan) -> list[list[Cell]]:
    """All cells, those first whose models select for others."""
    seeds = range(plan.seeds)
    found = [[Cell(seed, plan.first) for seed in seeds]]
    return found + [[Cell(seed, labels, order) for seed in seeds for order in ORDERS] for labels in sorted(plan.labels)]


def summarise(
    plan: Plan, found: Mapping[Cell, Found], failures: Mapping[str, str], command: str | None
) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures` or `missing`."""
    ceiling = builtin.human_ceiling("held_out")
    cells = [cell for stage in stages(plan) for cell in stage]
    return {
        "plan": asdict(plan),
        "labels": ORDERS,
        "rows": [row for order in ORDERS for row in rows_of(plan, found, order)],
        "ceiling": {"mean": ceiling.agreement, "low": ceiling.low, "high": ceiling.high},
        "missing": [cell.label for cell in cells if cell not in found and cell.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def rows_of(plan: Plan, found: Mapping[Cell, Found], order: str) -> list[dict[str, Any]]:
    """A row per number of labels: accuracy of the ensemble, its difference from the random order, paired by seed and
    pair over the seeds that both have, and the mean accuracy of its members."""
    rows = []
    for labels in (plan.first, *sorted(plan.labels)):

        def cell(seed: int, which: str, labels: int = labels) -> Cell:
            return Cell(seed, labels, None if labels == plan.first else which)

        seeds = [seed for seed in range(plan.seeds) if cell(seed, order) in found]
        if not seeds:
            continue
        both = [seed for seed in seeds if cell(seed, RANDOM) in found]
        mine = {seed: np.array(found[cell(seed, order)]["right"], dtype=float) for seed in seeds}
        difference = None
        if order != RANDOM and labels != plan.first and both:
            difference = interval_of(np.stack([mine[one] - found[cell(one, RANDOM)]["right"] for one in both]))
        rows.append(
            {
                "order": order,
                "labels": labels,
                "seeds": len(seeds),
                "accuracy": interval_of(np.stack([*mine.values()])),
                "difference": difference,
                "alone": float(np.mean([found[cell(seed, order)]["alone"] for seed in seeds])),
            }
        )
    return rows


def table(summary: Mapping[str, Any]) -> None:
    """Print accuracy by order and number of labels, and its difference from the random order."""
    shown = Table(title="held-out accuracy", title_justify="left", box=SIMPLE)
    for column in ("order", "labels", "accuracy", "minus random"):
        shown.add_column(column, justify="left" if column == "order" else "right", no_wrap=True)
    for row in summary["rows"]:
        texts = [text_of(row["accuracy"]), text_of(row["difference"], signed=True)]
        shown.add_row(summary["labels"][row["order"]], f"{row['labels']:,}", *texts)
    Console().print(shown)


def text_of(one: Mapping[str, Any] | None, signed: bool = False) -> str:
    """A share and its interval, in percent; of fewer than two seeds there is no interval."""
    if one is None:
        return ""
    how = "+.1f" if signed else ".1f"
    ends = "" if one["low"] is None else f" [{100 * one['low']:{how}}, {100 * one['high']:{how}}]"
    return f"{100 * one['mean']:{how}}{ends}".replace("-", "−")
