"""The study's numbers: gold and proxy gains at each distance, fits of them, where gold peaks, and costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.evaluation.overoptimisation import Fit, Form, ends_of, fit_of, resampled
from burnish.recipes.study.cell import Found
from burnish.recipes.study.costs import average, costs_of
from burnish.recipes.study.intervals import FEWEST, interval_of
from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.monitor import calibrated
from burnish.recipes.study.overoptimise.paths import Path, Paths, enough, fallen, paths_of, shared_by
from burnish.recipes.study.overoptimise.plan import BEST, METHODS, MONITOR, PPO, Plan, controls_of

FORMS: dict[str, Form] = {BEST: "best_of_n", PPO: "rl"}
SCALARS = ("length", "entropy", "distinct_2", "ended")
STATE = (*SCALARS, "repetition")
"""Of PPO's texts; the best of n chooses among the start's own."""
CURVE = 33
"""Points of a drawn fit."""


def cells_of(plan: Plan, seed: int) -> list[Cell]:
    """What a seed's reward models are optimised by, and what is run for the monitor."""
    controls = [Cell(seed, method, labels) for method, labels in controls_of(plan)]
    return [*(Cell(seed, PPO, labels) for labels in plan.labels), *controls, Cell(seed, BEST)]


def rewards_of(plan: Plan, seed: int) -> list[Cell]:
    return [Cell(seed, None, labels) for labels in plan.labels]


def judged_of(plan: Plan) -> list[Cell]:
    """The texts of PPO and of what is run for the monitor by the reward models of all seeds, of which one alone agrees
    with itself; those of PPO on the gold score by those of the most labels."""
    seeds = range(plan.seeds) if plan.seeds > 1 else ()
    kinds: list[tuple[int, str | None]] = [(labels, None) for labels in plan.labels]
    kinds += [(labels or max(plan.labels), method) for method, labels in controls_of(plan)]
    return [Cell(seed, MONITOR, labels, plan.seeds, of) for seed in seeds for labels, of in kinds]


def stopped(plan: Plan, found: Mapping[Cell, Found]) -> list[Cell]:
    """The cells that need reward models which have diverged: they are never computed. PPO needs its own, the best of n
    one of the seed's, and the monitor its PPO's and a second one."""
    seeds = range(plan.seeds)
    lost = {(s, n) for s in seeds for n in plan.labels if found.get(Cell(s, None, n), {}).get("diverged") is not None}
    cells = [cell for seed in seeds for cell in cells_of(plan, seed)] + judged_of(plan)
    few = {labels for labels in plan.labels if sum((seed, labels) not in lost for seed in seeds) < FEWEST}
    return [
        cell
        for cell in cells
        if (cell.seed, cell.labels) in lost
        or (cell.members is not None and cell.labels in few)
        or (cell.method == BEST and all((cell.seed, labels) in lost for labels in plan.labels))
    ]


def every_cell(plan: Plan) -> list[Cell]:
    """All cells in the order in which they are needed."""
    return [
        Cell(),
        *(cell for seed in range(plan.seeds) for part in (rewards_of, cells_of) for cell in part(plan, seed)),
        *judged_of(plan),
    ]


def summarise(
    plan: Plan, found: Mapping[Cell, Found], failures: Mapping[str, str], command: str | None
) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures` or `missing`."""
    paths, never = paths_of(plan, found), stopped(plan, found)
    wanted = [cell for cell in every_cell(plan) if cell not in found and cell not in never]
    fits = {key: resampled(FORMS[key[0]], [one.run for one in by_seed.values()]) for key, by_seed in enough(paths)}
    return {
        "plan": asdict(plan),
        "methods": METHODS,
        "start": {key: found[Cell()][key] for key in ("pairs", "agreed")} if Cell() in found else None,
        "rewards": [reward_row(plan, found, labels) for labels in plan.labels],
        "points": [point for key, by_seed in paths.items() for point in points_of(*key, by_seed, found)],
        "rows": [row_of(*key, by_seed, fits.get(key)) for key, by_seed in paths.items() if by_seed],
        "differences": [one for method in METHODS if (one := difference(plan, method, paths, fits))],
        "monitor": calibrated(plan, paths, found),
        "texts": texts_of(plan, paths),
        "costs": costs_of(found),
        "diverged": [
            {"label": cell.label, "step": one["diverged"]}
            for cell, one in found.items()
            if one.get("diverged") is not None
        ],
        "gaps": {method: gaps_of(plan, found, failures, method) for method in METHODS},
        "stopped": [cell.label for cell in never],
        "missing": [cell.label for cell in wanted if cell.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def gaps_of(plan: Plan, found: Mapping[Cell, Found], failures: Mapping[str, str], method: str) -> dict[str, list[str]]:
    """What a method's figure does not have: the names of what is `missing`, `failed`, `stopped` or `diverged` of its
    own cells and of those that they need."""
    never = stopped(plan, found)
    mine = [cell for cell in every_cell(plan) if cell.method in (None, method)]
    there = {cell: found[cell] for cell in mine if cell in found}
    absent = [cell for cell in mine if cell not in there]
    return {
        "missing": [cell.label for cell in absent if cell not in never and cell.label not in failures],
        "failed": [cell.label for cell in absent if cell.label in failures],
        "stopped": [cell.label for cell in absent if cell in never],
        "diverged": [
            f"{cell.label}, at step {one['diverged']}" for cell, one in there.items() if one.get("diverged") is not None
        ],
    }


def points_of(
    method: str, labels: int, by_seed: Mapping[int, Path], found: Mapping[Cell, Found]
) -> list[dict[str, Any]]:
    """Every point with its distance, and the means and standard errors over prefixes of its gains and its KL; and the
    step at which its PPO `diverged` afterwards, or None."""
    points = []
    for seed, path in by_seed.items():
        step = found[Cell(seed, method, labels)]["diverged"] if method == PPO else None
        columns = {"kl": path.kl, "gold": path.gold, "proxy": path.proxy}
        for i, one in enumerate(path.points):
            known = {"method": method, "labels": labels, "seed": seed, "step": one["step"]}
            known |= {"d": float(path.d[i]), "diverged": step}
            for name, values in columns.items():
                spread = float(values[i].std(ddof=1)) if values.shape[1] > 1 else 0.0
                known |= {name: float(values[i].mean()), f"{name}_se": spread / values.shape[1] ** 0.5}
            points.append(known | {key: one[key] for key in SCALARS})
    return points


def row_of(method: str, labels: int, by_seed: Mapping[int, Path], fits: Sequence[Fit | None] | None) -> dict[str, Any]:
    """The fit and where it peaks, of all points; and of the seeds that are compared at their last point gold, the
    proxy and the `state` of PPO's texts there, and how far gold has fallen."""
    shared = shared_by({seed: len(path.points) for seed, path in by_seed.items()})
    paths = [by_seed[seed] for seed in shared.seeds]
    gold, proxy = (np.stack([getattr(path, name)[: shared.points] for path in paths]) for name in ("gold", "proxy"))
    fall, best = fallen(gold)
    end = shared.points - 1
    row: dict[str, Any] = {"method": method, "labels": labels, "seeds": len(by_seed), "fit": None}
    row |= {"compared": len(paths), "without": shared.without, "cut": shared.cut}
    row |= {"far": min(path.far for path in by_seed.values()), "last": paths[0].points[end]["step"]}
    reached = [float(path.d[end]) for path in paths]
    row["reached"] = [min(reached), max(reached)]
    row |= {"end": interval_of(gold[:, -1]), "claimed": interval_of(proxy[:, -1])}
    row |= {"fall": interval_of(fall), "best": [paths[0].points[i]["step"] for i in best]}
    row["gap"] = interval_of(proxy[:, -1] - gold[:, -1])
    ends = [[path.points[i] for path in paths] for i in (0, end)]
    state = [{key: average([one.get(key) for one in some]) for key in STATE} for some in ends]
    row["state"] = state if method == PPO else None
    every = [*by_seed.values()]
    if (fit := fit_of(FORMS[method], [path.run for path in every])) is not None:
        row["fit"] = described(fit, every, row["far"], [one for one in fits or () if one is not None])
    return row


def described(fit: Fit, paths: Sequence[Path], far: float, draws: Sequence[Fit]) -> dict[str, Any]:
    """A fit with its intervals, and whether it peaks `within` the distances that all seeds reach: "yes" or "no" where
    the interval of the peak lies on one side of their end, else "undecided"; None without an interval."""
    uniform = np.full(paths[0].kl.shape[1], 1 / paths[0].kl.shape[1])
    parts = [path.run.points(uniform) for path in paths]
    d, gain = (np.concatenate([one[i] for one in parts]) for i in (0, 1))
    out: dict[str, Any] = {"rms": float(np.sqrt(np.mean((fit.at(d) - gain) ** 2))), "within": None}
    for name in ("alpha", "beta", "peak"):
        ends = ends_of([getattr(one, name) for one in draws]) if draws else (None, None)
        out[name] = {"mean": finite(getattr(fit, name)), "low": finite(ends[0]), "high": finite(ends[1])}
        if name == "peak" and ends[0] is not None and ends[1] is not None:
            out["within"] = "yes" if ends[1] < far else "no" if ends[0] >= far else "undecided"
    grid = np.linspace(0.0, max(path.far for path in paths), CURVE)
    heights = fit.at(grid)
    bands = [ends_of(one) for one in np.stack([draw.at(grid) for draw in draws], axis=1)] if draws else [None] * CURVE
    out["curve"] = [
        {"d": float(x), "gold": float(y), "low": band and band[0], "high": band and band[1]}
        for x, y, band in zip(grid, heights, bands, strict=True)
    ]
    return out


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def difference(
    plan: Plan, method: str, paths: Paths, fits: Mapping[tuple[str, int], Sequence[Fit | None]]
) -> dict[str, Any] | None:
    """How much more the proxy of the most labels gains than that of the fewest, at the last point that both have and by
    seed and prefix, and how much larger its α and β are, resample by resample; None where fewer than two seeds have
    both."""
    few, many = ((method, labels) for labels in (min(plan.labels), max(plan.labels)))
    both = sorted(set(paths[few]) & set(paths[many]))
    if len(both) < FEWEST or few == many:
        return None
    shared = shared_by({seed: min(len(paths[key][seed].points) for key in (few, many)) for seed in both})
    end = shared.points - 1
    ends = [np.stack([paths[key][seed].gold[end] for seed in shared.seeds]) for key in (few, many)]
    found: dict[str, Any] = {"method": method, "few": few[1], "many": many[1], "alpha": None, "beta": None}
    found |= {"last": paths[few][shared.seeds[0]].points[end]["step"], "seeds": len(shared.seeds)}
    found["end"] = interval_of(ends[1] - ends[0])
    whole = [fit_of(FORMS[method], [one.run for one in paths[key].values()]) for key in (few, many)]
    if set(paths[few]) != set(paths[many]) or whole[0] is None or whole[1] is None:
        return found
    drawn = [(a, b) for a, b in zip(fits[few], fits[many], strict=True) if a is not None and b is not None]
    for name in ("alpha", "beta"):
        low, high = ends_of([getattr(b, name) - getattr(a, name) for a, b in drawn]) if drawn else (None, None)
        found[name] = {"mean": getattr(whole[1], name) - getattr(whole[0], name), "low": low, "high": high}
    return found


def reward_row(plan: Plan, found: Mapping[Cell, Found], labels: int) -> dict[str, Any]:
    """How many held-out pairs the reward models of so many labels order as the gold judge does, by seed and prefix; and
    how many of the labels that they have learned from they order so."""
    some = [found[cell] for s in range(plan.seeds) if (cell := Cell(s, None, labels)) in found]
    known = [one for one in some if one["diverged"] is None]
    row: dict[str, Any] = {"labels": labels, "seeds": len(known)}
    row["correct"] = interval_of(np.stack([by_prefix(one) for one in known])) if known else None
    return row | {"fitted": average([one.get("fitted") for one in known])}


def by_prefix(one: Found) -> Float[np.ndarray, "P"]:
    """The share of correct pairs of each prefix: pairs of one prefix are no independent draws."""
    correct, prefix = np.array(one["correct"], dtype=float), np.array(one["prefix"])
    return np.array([correct[prefix == number].mean() for number in np.unique(prefix)])


def texts_of(plan: Plan, paths: Paths) -> list[dict[str, Any]]:
    """What PPO's first seed of each proxy writes at its end."""
    found = []
    for labels in plan.labels:
        if by_seed := paths[PPO, labels]:
            seed, path = next(iter(by_seed.items()))
            last = path.points[-1]
            found.append(
                {"labels": labels, "seed": seed, "step": last["step"], "texts": last.get("texts", [])[: plan.shown]}
            )
    return found


def table(summary: Mapping[str, Any]) -> None:
    """Print the fits and the ends."""
    shown = Table(title="gains over the start, in gold points", title_justify="left", box=SIMPLE)
    for column in ("method", "labels", "alpha", "beta", "peak", "far", "gold", "claimed"):
        shown.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    for row in summary["rows"]:
        fit = row["fit"]
        values = [None if fit is None else fit[name]["mean"] for name in ("alpha", "beta", "peak")]
        values += [row["far"], row["end"]["mean"], row["claimed"]["mean"]]
        texts = ["–" if one is None else f"{one:.2f}" for one in values]
        shown.add_row(summary["methods"][row["method"]], f"{row['labels']:,}", *texts)
    Console().print(shown)
