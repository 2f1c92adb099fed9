"""The study's numbers: accuracy by the judge's share, with differences from labels of people alone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.data import builtin
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.statistics import proportion
from burnish.recipes.study.cell import Found
from burnish.recipes.study.intervals import interval_of
from burnish.recipes.study.shares.cells import Better, Cell, cells
from burnish.recipes.study.shares.plan import Plan
from burnish.report import wording


def summarise(
    plan: Plan, found: Mapping[Cell, Found], better: Better, failures: Mapping[str, str], command: str | None
) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures`."""
    ceiling = builtin.human_ceiling("held_out")
    return {
        "plan": asdict(plan),
        "rows": [row for share in plan.shares if (row := row_of(plan, found, share))],
        "judge": judge_of(better),
        "ceiling": {"mean": ceiling.agreement, "low": ceiling.low, "high": ceiling.high},
        "missing": [one.label for one in cells(plan) if one not in found and one.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def row_of(plan: Plan, found: Mapping[Cell, Found], share: float) -> dict[str, Any] | None:
    """A share's labels, accuracy of the ensemble, its difference from the smallest share, paired by seed and pair over
    the seeds that both have, and the mean accuracy of its members; None where no seed has it."""
    mine = {seed: found[cell] for seed in range(plan.seeds) if (cell := Cell(seed, share)) in found}
    if not mine:
        return None
    base = {seed: found[cell] for seed in mine if (cell := Cell(seed, min(plan.shares))) in found}
    people, judged = plan.labels(share)
    difference = None
    if share != min(plan.shares) and base:
        difference = interval_of(np.stack([np.subtract(mine[one]["right"], base[one]["right"]) for one in base]))
    return {
        "share": share,
        "people": people,
        "judged": judged,
        "cost": plan.cost(people, judged),
        "unread": judged * len(mine) - sum(one["judged"] for one in mine.values()),
        "seeds": len(mine),
        "accuracy": interval_of(np.stack([np.array(one["right"], dtype=float) for one in mine.values()])),
        "difference": difference,
        "alone": float(np.mean([one["alone"] for one in mine.values()])),
    }


def judge_of(better: Better) -> dict[str, Any]:
    """Of how many pairs the judge was asked, how many it labelled, and in how many of these it prefers the answer that
    people prefer, with Wilson's interval; undecided counts half."""
    read = np.array([one for one in better.values() if one is not None], dtype=float)
    agreement = proportion(float(accuracy_scores(read - 0.5).sum()), len(read)).as_dict() if len(read) else None
    return {"asked": len(better), "labelled": len(read), "agreement": agreement}


def table(summary: Mapping[str, Any]) -> None:
    """Print accuracy by the judge's share, and its difference from labels of people alone."""
    shown = Table(title="held-out accuracy, %", title_justify="left", box=SIMPLE)
    for column in ("of the judge", "people", "judge", "accuracy", "minus people alone"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in summary["rows"]:
        texts = [wording.percent(row["share"]), f"{row['people']:,}", f"{row['judged']:,}"]
        shown.add_row(*texts, text_of(row["accuracy"]), text_of(row["difference"], signed=True))
    Console().print(shown)


def text_of(one: Mapping[str, Any] | None, signed: bool = False) -> str:
    """A share and its interval, in percent; of fewer than two seeds there is no interval."""
    if one is None:
        return ""
    mean = wording.number(100 * one["mean"], 1, signed)
    if one["low"] is None:
        return mean
    return f"{mean} [{', '.join(wording.number(100 * one[end], 1, signed) for end in ('low', 'high'))}]"
