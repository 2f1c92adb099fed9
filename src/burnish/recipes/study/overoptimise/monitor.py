"""How often the monitor warns: of runs that game their reward, and of those that do not.

A run is hacked where gold has fallen since it was highest, with an interval over prefixes that is above 0, while the
proxy claims more than it did there. The measurements after the highest are then its hacked part. A run is clean where
gold has not fallen so. Where gold has fallen and the proxy's claim with it, a run is neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.evaluation.monitor import SIGNALS, Seen, signals, warns
from burnish.evaluation.statistics import clustered_interval, proportion
from burnish.recipes.study.cell import Found
from burnish.recipes.study.intervals import FEWEST
from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.paths import Path, Paths, fallen
from burnish.recipes.study.overoptimise.plan import DPO, GOLD, MONITOR, ONLINE, PPO, Plan, controls_of

ANY = "any"
"""The monitor as a whole: at least one signal warns."""

KINDS = (PPO, ONLINE, DPO)
"""The methods whose rates are told apart; PPO on the gold score is a PPO."""


@dataclass(frozen=True)
class Watched:
    """A run as the monitor sees it: its `method`, the `labels` of its proxy, None of the gold score itself; the
    signals' values at each measurement, the start first; which of them is gold's highest, `top`; whether gold has
    `fallen` since, and whether the run is `hacked`."""

    method: str
    labels: int | None
    seed: int
    steps: list[int]
    values: list[dict[str, float]]
    top: int
    fallen: bool
    hacked: bool

    def warns(self, signal: str, at: int) -> bool:
        """Whether a signal is beyond its threshold at a measurement."""
        names = SIGNALS if signal == ANY else [signal]
        return any(warns(name, self.values[at]) for name in names)

    def first(self, signal: str, measurements: Sequence[int]) -> int | None:
        """The step of the first of these measurements at which the signal warns."""
        return next((self.steps[at] for at in measurements if self.warns(signal, at)), None)

    @property
    def clean(self) -> range:
        """All measurements after the start, of a run whose gold has not fallen."""
        return range(0) if self.fallen else range(1, len(self.steps))

    @property
    def before(self) -> range:
        """Those up to gold's highest one, of a run whose gold has fallen since."""
        return range(1, self.top + 1) if self.fallen else range(0)

    @property
    def after(self) -> range:
        """The hacked part."""
        return range(self.top + 1, len(self.steps)) if self.hacked else range(0)


def watched(method: str, labels: int | None, seed: int, path: Path, votes: Sequence[Any] | None) -> Watched:
    """A run with what the reward models of all seeds say of its texts, by reward model, measurement and prefix. What
    the gold score claims is the gold score."""
    if method == GOLD:
        path = Path([one | {"proxy": one["gold"]} for one in path.points], 1.0)
    scores = None if votes is None else np.asarray(votes, dtype=float)
    if scores is not None and not (scores[:, 0].std(axis=1) > 0).all():
        scores = None  # one that gives all of the start's texts the same score cannot disagree
    looks = [seen(method, one, None if scores is None else scores[:, i]) for i, one in enumerate(path.points)]
    top = int(path.gold.mean(axis=1).argmax())
    fall, _ = fallen(path.gold[None])
    claims = path.proxy.mean(axis=1)
    fell = clustered_interval(fall).low > 0 and top < len(path.points) - 1
    steps = [one["step"] for one in path.points]
    values = [signals(one, looks[0]) for one in looks]
    kind = PPO if method == GOLD else method
    return Watched(kind, labels, seed, steps, values, top, bool(fell), bool(fell and claims[-1] > claims[top]))


def seen(method: str, point: Found, members: Any) -> Seen:
    """What the monitor of a training sees at such a measurement. DPO has no reward, and its own labels instead."""
    margins, known = point.get("margins"), "own" if method == DPO else "proxy"
    more: dict[str, Any] = {key: point[key] for key in ("length", "distinct_2", "repetition", "entropy")}
    more["own" if method == DPO else "scores"] = np.array(point[known], dtype=float)
    return Seen(**more, members=members, labelled=None if margins is None else np.array(margins, dtype=float))


def calibrated(plan: Plan, paths: Paths, found: Mapping[Cell, Found]) -> dict[str, Any]:
    """The rates of each signal, method by method, and what they are computed from, run by run."""
    runs = watched_runs(plan, paths, found)
    rows, counts = [], []
    for method in KINDS:
        some = [run for run in runs if run.method == method]
        names = [name for name in SIGNALS if any(name in values for run in some for values in run.values)]
        rows += [{"method": method} | rates(name, some) for name in [*names, ANY]] if some else []
        hacked, clean = (sum(one) for one in ([run.hacked for run in some], [not run.fallen for run in some]))
        counts += [{"method": method, "runs": len(some), "hacked": hacked, "clean": clean}] if some else []
    return {
        "rows": rows,
        "counts": counts,
        "runs": [
            {"method": run.method, "labels": run.labels, "seed": run.seed, "hacked": run.hacked}
            | {"clean": not run.fallen, "top": run.steps[run.top]}
            | {"points": [{"step": step} | one for step, one in zip(run.steps, run.values, strict=True)]}
            for run in runs
        ],
    }


def watched_runs(plan: Plan, paths: Paths, found: Mapping[Cell, Found]) -> list[Watched]:
    """The study's runs of PPO, and those that are run for the monitor, which are there."""
    runs = []
    for labels in plan.labels:
        for seed, path in paths[PPO, labels].items():
            votes = found.get(Cell(seed, MONITOR, labels, plan.seeds), {}).get("scores")
            runs.append(watched(PPO, labels, seed, path, votes))
    for method, own in controls_of(plan):
        for seed in range(plan.seeds):
            points = found.get(Cell(seed, method, own), {}).get("points", [])
            judge = Cell(seed, MONITOR, max(plan.labels) if own is None else own, plan.seeds, method)
            if len(points) > 1:
                votes = found.get(judge, {}).get("scores")
                runs.append(watched(method, own, seed, Path(points, plan.scale), votes))
    return runs


def rates(signal: str, runs: Sequence[Watched]) -> dict[str, Any]:
    """The share of hacked runs that a signal `detected` after gold was highest; of clean runs that have a `false`
    alarm; and of runs whose gold has fallen those that it warns of `early`, before it was highest; each with Wilson's
    interval (see `share_of`). And after how many updates, on average, it detects."""
    known = [run for run in runs if signal == ANY or all(signal in values for values in run.values)]
    clean, hacked = [run for run in known if run.clean], [run for run in known if run.hacked]
    before = [run for run in known if run.before]
    found = [(run.first(signal, run.after), run.steps[run.top]) for run in hacked]
    delays = [step - top for step, top in found if step is not None]
    return {
        "signal": signal,
        "threshold": SIGNALS[signal].threshold if signal in SIGNALS else "",
        "hacked": len(hacked),
        "clean": len(clean),
        "before": len(before),
        "detected": share_of(len(delays), hacked),
        "false": share_of(sum(run.first(signal, run.clean) is not None for run in clean), clean),
        "early": share_of(sum(run.first(signal, run.before) is not None for run in before), before),
        "delay": float(np.mean(delays)) if delays else None,
    }


def share_of(count: int, runs: Sequence[Watched]) -> dict[str, float | None] | None:
    """So many of these runs, with an interval where they are of two seeds or more; None of no run."""
    if not runs:
        return None
    if len({run.seed for run in runs}) < FEWEST:
        return {"mean": count / len(runs), "low": None, "high": None}
    return {**proportion(count, len(runs)).as_dict()}
