"""The study's numbers: gold and proxy gains at each distance, fits of them, where gold peaks, and costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.evaluation.overoptimisation import Fit, Form, Run, ends_of, fit_of, resampled
from burnish.recipes.study.cell import Found
from burnish.recipes.study.intervals import FEWEST, interval_of
from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.plan import BEST, METHODS, PPO, Plan

FORMS: dict[str, Form] = {BEST: "best_of_n", PPO: "rl"}
SCALARS = ("length", "entropy", "distinct_2", "ended")
STATE = (*SCALARS, "repetition")
"""Of PPO's texts; the best of n chooses among the start's own."""
COSTS = ("seconds", "wall", "sampled", "learned")
CURVE = 33
"""Points of a drawn fit."""


def cells_of(plan: Plan, seed: int) -> list[Cell]:
    """What a seed's reward models are optimised by."""
    return [*(Cell(seed, PPO, labels) for labels in plan.labels), Cell(seed, BEST)]


def rewards_of(plan: Plan, seed: int) -> list[Cell]:
    return [Cell(seed, None, labels) for labels in plan.labels]


def every_cell(plan: Plan) -> list[Cell]:
    """All cells in the order in which they are needed."""
    return [
        Cell(),
        *(cell for seed in range(plan.seeds) for part in (rewards_of, cells_of) for cell in part(plan, seed)),
    ]


@dataclass(frozen=True)
class Path:
    """One optimisation: its points, the start first. The proxy's scores are times the scale of the labels, and so what
    it claims in points of the gold judge."""

    points: Sequence[Found]
    scale: float

    @property
    def kl(self) -> Float[np.ndarray, "K P"]:
        return np.array([one["kl"] for one in self.points])

    @property
    def gold(self) -> Float[np.ndarray, "K P"]:
        """Gains: less the start's score of the same prefix."""
        scores = np.array([one["gold"] for one in self.points])
        return scores - scores[0]

    @property
    def proxy(self) -> Float[np.ndarray, "K P"]:
        scores = self.scale * np.array([one["proxy"] for one in self.points])
        return scores - scores[0]

    @property
    def run(self) -> Run:
        return Run(self.kl, self.gold)

    @property
    def far(self) -> float:
        """The largest distance √KL."""
        return math.sqrt(max(0.0, float(self.kl.mean(axis=1).max())))


Paths = dict[tuple[str, int], dict[int, Path]]
"""By method and number of labels, and by seed."""


def summarise(
    plan: Plan, found: Mapping[Cell, Found], failures: Mapping[str, str], command: str | None
) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures` or `missing`."""
    paths = paths_of(plan, found)
    fits = {key: resampled(FORMS[key[0]], [one.run for one in by_seed.values()]) for key, by_seed in enough(paths)}
    return {
        "plan": asdict(plan),
        "methods": METHODS,
        "start": {key: found[Cell()][key] for key in ("pairs", "agreed")} if Cell() in found else None,
        "rewards": [reward_row(plan, found, labels) for labels in plan.labels],
        "points": [point for key, by_seed in paths.items() for point in points_of(*key, by_seed)],
        "rows": [row_of(*key, by_seed, fits.get(key)) for key, by_seed in paths.items() if by_seed],
        "differences": [one for method in METHODS if (one := difference(plan, method, paths, fits))],
        "texts": texts_of(plan, paths),
        "costs": costs_of(found),
        "diverged": [
            {"label": cell.label, "step": one["diverged"]}
            for cell, one in found.items()
            if one.get("diverged") is not None
        ],
        "missing": [cell.label for cell in every_cell(plan) if cell not in found and cell.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def paths_of(plan: Plan, found: Mapping[Cell, Found]) -> Paths:
    """The paths that are there. One that diverged before its first measurement but the start's has no distance."""
    out: Paths = {}
    for method in METHODS:
        for labels in plan.labels:
            cells = {s: Cell(s, method, labels if method == PPO else None) for s in range(plan.seeds)}
            some = {
                seed: [one for one in found[cell]["points"] if one.get("labels", labels) == labels]
                for seed, cell in cells.items()
                if cell in found
            }
            out[method, labels] = {seed: Path(points, plan.scale) for seed, points in some.items() if len(points) > 1}
    return out


def enough(paths: Paths) -> list[tuple[tuple[str, int], dict[int, Path]]]:
    """Those with as many seeds as an interval needs."""
    return [(key, by_seed) for key, by_seed in paths.items() if len(by_seed) >= FEWEST]


def points_of(method: str, labels: int, by_seed: Mapping[int, Path]) -> list[dict[str, Any]]:
    """Every point with its distance, and the means and standard errors over prefixes of its gains and its KL."""
    found = []
    for seed, path in by_seed.items():
        columns = {"kl": path.kl, "gold": path.gold, "proxy": path.proxy}
        for i, one in enumerate(path.points):
            known = {"method": method, "labels": labels, "seed": seed, "step": one["step"]}
            known["d"] = math.sqrt(max(0.0, float(path.kl[i].mean())))
            for name, values in columns.items():
                spread = float(values[i].std(ddof=1)) if values.shape[1] > 1 else 0.0
                known |= {name: float(values[i].mean()), f"{name}_se": spread / values.shape[1] ** 0.5}
            found.append(known | {key: one[key] for key in SCALARS})
    return found


def row_of(method: str, labels: int, by_seed: Mapping[int, Path], fits: Sequence[Fit | None] | None) -> dict[str, Any]:
    """The fit, where it peaks, gold and proxy at the end, and the `state` of PPO's texts before and after."""
    paths = [*by_seed.values()]
    far, fit = min(path.far for path in paths), fit_of(FORMS[method], [path.run for path in paths])
    shared = min(len(path.points) for path in paths)
    gold, proxy = (np.stack([getattr(path, name)[:shared] for path in paths]) for name in ("gold", "proxy"))
    fall, best = fallen(gold)
    steps = [paths[0].points[i]["step"] for i in best]
    row: dict[str, Any] = {"method": method, "labels": labels, "seeds": len(paths), "far": far, "fit": None}
    row |= {
        "end": interval_of(gold[:, -1]),
        "claimed": interval_of(proxy[:, -1]),
        "last": paths[0].points[shared - 1]["step"],
    }
    row |= {"fall": interval_of(fall), "best": steps, "gap": interval_of(proxy[:, -1] - gold[:, -1])}
    ends = [[path.points[i] for path in paths] for i in (0, shared - 1)]
    state = [{key: average([one.get(key) for one in some]) for key in STATE} for some in ends]
    row["state"] = state if method == PPO else None
    if fit is not None:
        row["fit"] = described(fit, paths, far, [one for one in fits or () if one is not None])
    return row


def fallen(gold: Float[np.ndarray, "S K P"]) -> tuple[Float[np.ndarray, "S P"], list[int]]:
    """How much gold falls from its highest point to the last one, by seed and prefix, and which points are the highest.

    Without rewarding luck: for the even prefixes the point that is highest on the odd ones, and the other way round.
    """
    cells = np.zeros((gold.shape[0], gold.shape[2]))
    even = np.arange(gold.shape[2]) % 2 == 0
    best = []
    for half in (even, ~even):
        judged_on = ~half if (~half).any() else half
        top = int(gold[:, :, judged_on].mean(axis=(0, 2)).argmax())
        cells[:, half] = (gold[:, top] - gold[:, -1])[:, half]
        best.append(top)
    return cells, list(dict.fromkeys(best))


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
    """How much more the proxy of the most labels gains than that of the fewest, at the end and by seed and prefix, and
    how much larger its β is, resample by resample; None where fewer than two seeds have both."""
    few, many = ((method, labels) for labels in (min(plan.labels), max(plan.labels)))
    both = sorted(set(paths[few]) & set(paths[many]))
    if len(both) < FEWEST or few == many:
        return None
    ends = [np.stack([paths[key][seed].gold[-1] for seed in both]) for key in (few, many)]
    found: dict[str, Any] = {"method": method, "few": few[1], "many": many[1], "beta": None}
    found["end"] = interval_of(ends[1] - ends[0])
    whole = [fit_of(FORMS[method], [one.run for one in paths[key].values()]) for key in (few, many)]
    if set(paths[few]) != set(paths[many]) or whole[0] is None or whole[1] is None:
        return found
    draws = [b.beta - a.beta for a, b in zip(fits[few], fits[many], strict=True) if a is not None and b is not None]
    low, high = ends_of(draws) if draws else (None, None)
    return found | {"beta": {"mean": whole[1].beta - whole[0].beta, "low": low, "high": high}}


def reward_row(plan: Plan, found: Mapping[Cell, Found], labels: int) -> dict[str, Any]:
    """How many held-out pairs the reward models of so many labels order as the gold judge does."""
    known = [found[cell]["correct"] for s in range(plan.seeds) if (cell := Cell(s, None, labels)) in found]
    correct = interval_of(np.array(known, dtype=float)) if known else None
    return {"labels": labels, "seeds": len(known), "correct": correct}


def texts_of(plan: Plan, paths: Paths) -> list[dict[str, Any]]:
    """What PPO's first seed of each proxy writes at its end."""
    found = []
    for labels in plan.labels:
        if by_seed := paths[PPO, labels]:
            seed, path = next(iter(by_seed.items()))
            last = path.points[-1]
            found.append({"labels": labels, "seed": seed, "step": last["step"], "texts": last.get("texts", [])})
    return found


def costs_of(found: Mapping[Cell, Found]) -> dict[str, dict[str, Any]]:
    """CPU and wall-clock seconds, and tokens sampled and learned from: means over the cells of a kind."""
    groups: dict[str, list[Found]] = {}
    for cell, one in found.items():
        groups.setdefault(cell.method or ("start" if cell.seed is None else "reward"), []).append(one)
    return {
        name: {key: average([one.get(key) for one in ones]) for key in COSTS} | {"runs": len(ones)}
        for name, ones in groups.items()
    }


def average(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is not known."""
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


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
