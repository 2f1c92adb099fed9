"""How often the monitor warns: of runs of PPO that game their reward, and of those that do not, or not yet.

A run is hacked where gold has fallen since it was highest, with an interval over prefixes that is above 0, while the
proxy claims more than it did there. The measurements after the highest are then its hacked part. Those up to gold's
highest measurement are the clean part of every run, hacked or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.evaluation.monitor import SIGNALS, Seen, signals
from burnish.evaluation.statistics import clustered_interval, proportion
from burnish.recipes.study.cell import Found
from burnish.recipes.study.intervals import FEWEST
from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.paths import Path, Paths, fallen
from burnish.recipes.study.overoptimise.plan import MONITOR, PPO, Plan

ANY = "any"
"""The monitor as a whole: at least one signal warns."""


@dataclass(frozen=True)
class Watched:
    """A run of PPO as the monitor sees it: the signals' values at each measurement, the start first; which of them is
    gold's highest, `top`; and whether it is hacked after that."""

    labels: int
    seed: int
    steps: list[int]
    values: list[dict[str, float]]
    top: int
    hacked: bool

    def warns(self, signal: str, at: int) -> bool:
        """Whether a signal is beyond its threshold at a measurement."""
        names = SIGNALS if signal == ANY else [signal]
        return any(SIGNALS[name].warns(self.values[at][name]) for name in names if name in self.values[at])

    def first(self, signal: str, measurements: Sequence[int]) -> int | None:
        """The step of the first of these measurements at which the signal warns."""
        return next((self.steps[at] for at in measurements if self.warns(signal, at)), None)

    @property
    def clean(self) -> range:
        return range(1, self.top + 1)

    @property
    def after(self) -> range:
        """The hacked part."""
        return range(self.top + 1, len(self.steps)) if self.hacked else range(0)


def watched(labels: int, seed: int, path: Path, votes: Sequence[Any] | None) -> Watched:
    """A run with what the reward models of all seeds say of its texts, by reward model, measurement and prefix."""
    scores = None if votes is None else np.asarray(votes, dtype=float)
    if scores is not None and not (scores[:, 0].std(axis=1) > 0).all():
        scores = None  # one that gives all of the start's texts the same score cannot disagree
    looks = [seen(one, None if scores is None else scores[:, i]) for i, one in enumerate(path.points)]
    top = int(path.gold.mean(axis=1).argmax())
    fall, _ = fallen(path.gold[None])
    claims = path.proxy.mean(axis=1)
    hacked = clustered_interval(fall).low > 0 and claims[-1] > claims[top] and top < len(path.points) - 1
    steps = [one["step"] for one in path.points]
    return Watched(labels, seed, steps, [signals(one, looks[0]) for one in looks], top, bool(hacked))


def seen(point: Found, members: Any) -> Seen:
    """What the monitor of a training sees at such a measurement."""
    margins = point.get("margins")
    return Seen(
        **{key: point[key] for key in ("length", "distinct_2", "repetition", "entropy")},
        scores=np.array(point["proxy"], dtype=float),
        members=members,
        labelled=None if margins is None else np.array(margins, dtype=float),
    )


def calibrated(plan: Plan, paths: Paths, found: Mapping[Cell, Found]) -> dict[str, Any]:
    """The rates of each signal, and what they are computed from, run by run."""
    runs = []
    for labels in plan.labels:
        for seed, path in paths[PPO, labels].items():
            votes = found.get(Cell(seed, MONITOR, labels, plan.seeds), {}).get("scores")
            runs.append(watched(labels, seed, path, votes))
    names = [name for name in SIGNALS if any(name in values for run in runs for values in run.values)]
    return {
        "rows": [rates(name, runs) for name in [*names, ANY]] if runs else [],
        "hacked": sum(run.hacked for run in runs),
        "runs": [
            {"labels": run.labels, "seed": run.seed, "hacked": run.hacked, "top": run.steps[run.top]}
            | {"points": [{"step": step} | one for step, one in zip(run.steps, run.values, strict=True)]}
            for run in runs
        ],
    }


def rates(signal: str, runs: Sequence[Watched]) -> dict[str, Any]:
    """The share of hacked runs that a signal `detected` after gold was highest, of clean parts that have a `false`
    alarm, each with Wilson's interval (see `share_of`), and after how many updates, on average, it detects."""
    known = [run for run in runs if signal == ANY or all(signal in values for values in run.values)]
    clean, hacked = [run for run in known if run.clean], [run for run in known if run.hacked]
    alarms = [run.first(signal, run.clean) for run in clean]
    found = [(run.first(signal, run.after), run.steps[run.top]) for run in hacked]
    delays = [step - top for step, top in found if step is not None]
    return {
        "signal": signal,
        "threshold": SIGNALS[signal].threshold if signal in SIGNALS else "",
        "clean": len(clean),
        "hacked": len(hacked),
        "false": share_of(sum(one is not None for one in alarms), clean),
        "detected": share_of(len(delays), hacked),
        "delay": float(np.mean(delays)) if delays else None,
    }


def share_of(count: int, runs: Sequence[Watched]) -> dict[str, float | None] | None:
    """So many of these runs, with an interval where they are of two seeds or more; None of no run."""
    if not runs:
        return None
    if len({run.seed for run in runs}) < FEWEST:
        return {"mean": count / len(runs), "low": None, "high": None}
    return {**proportion(count, len(runs)).as_dict()}
