"""The study's numbers: every point, the Pareto lines, reward at matched KL with paired differences, and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.recipes.study.cell import Found
from burnish.recipes.study.frontier.cells import Cell
from burnish.recipes.study.frontier.matched import Path, matched, pareto
from burnish.recipes.study.frontier.plan import METHODS, Plan, name_of
from burnish.recipes.study.intervals import interval_of, seed_interval

REFERENCE = "dpo"
"""The method that others are compared with; the first one where it is not there."""

RIVAL = "ppo"
"""The method that others are compared with that learn from the same reward model."""

SCALARS = ("length", "entropy", "distinct_2", "ended", "chosen", "rejected")
COSTS = ("seconds", "wall", "sampled", "learned")

Runs = dict[tuple[str, float], dict[int, list[Found]]]
"""By setting and seed, what was measured, the start first."""


def settings_of(plan: Plan) -> list[tuple[str, float]]:
    """Every method and value of the grid."""
    return [(method, value) for method, values in plan.grid.items() for value in values]


def cells_of(plan: Plan, seed: int) -> list[Cell]:
    """The cells of a seed's settings; all sizes of best of n are one cell."""
    cells = [Cell(seed, method, value) for method, value in settings_of(plan) if METHODS[method].feed != "pool"]
    return cells + [Cell(seed, method) for method in plan.grid if METHODS[method].feed == "pool"]


def every_cell(plan: Plan) -> list[Cell]:
    """All cells in the order in which they are needed."""
    seeds = range(plan.seeds)
    return [Cell(), *(Cell(seed) for seed in seeds), *(cell for seed in seeds for cell in cells_of(plan, seed))]


def summarise(
    plan: Plan, found: Mapping[Cell, Found], failures: Mapping[str, str], command: str | None
) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures` or `missing`."""
    runs = runs_of(plan, found)
    paths = {method: paths_of(method, plan, runs) for method in plan.grid}
    paths = {method: by_seed for method, by_seed in paths.items() if by_seed}
    cells = every_cell(plan)
    return {
        "plan": asdict(plan),
        "labels": {method: name_of(method) for method in plan.grid},
        "seeds": {method: len(paths.get(method, {})) for method in plan.grid},
        "reference": reference(plan),
        "rival": RIVAL if rivals(plan) else None,
        "start": start_of(plan, found),
        "points": points_of(plan, runs, found),
        "lines": {method: pareto(arranged(by_seed, sorted(by_seed))) for method, by_seed in paths.items()},
        "levels": [{"level": level, "rows": level_rows(plan, paths, level)} for level in plan.levels],
        "ends": ends_of(plan, runs),
        "costs": costs_of(plan, found),
        "diverged": [
            {"setting": name_of(str(c.method), c.value), "seed": c.seed, "step": one["diverged"]}
            for c, one in found.items()
            if one.get("diverged") is not None
        ],
        "missing": [cell.label for cell in cells if cell not in found and cell.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def reference(plan: Plan) -> str:
    return REFERENCE if REFERENCE in plan.grid else next(iter(plan.grid))


def rivals(plan: Plan) -> list[str]:
    """The methods that learn from the reward model as PPO does, where it is there and is not the reference."""
    same = [method for method in plan.grid if METHODS[method].feed == METHODS[RIVAL].feed and method != RIVAL]
    return same if RIVAL in plan.grid and reference(plan) != RIVAL else []


def runs_of(plan: Plan, found: Mapping[Cell, Found]) -> Runs:
    """The points of each setting and seed; each size of best of n is a setting with one point."""
    runs: Runs = {setting: {} for setting in settings_of(plan)}
    for cell, one in found.items():
        if cell.method is None or cell.seed is None or Cell(cell.seed) not in found:
            continue
        start = found[Cell(cell.seed)]["points"]
        if cell.value is not None:
            runs[cell.method, cell.value][cell.seed] = [*start, *one["points"]]
            continue
        for point in one["points"]:
            runs[cell.method, point["step"]][cell.seed] = [*start, point]
    return runs


def paths_of(method: str, plan: Plan, runs: Runs) -> dict[int, dict[str, Path]]:
    """By seed of which all settings of a method are there, its paths. The sizes of best of n are one path."""
    values = plan.grid[method]
    found = {}
    for seed in range(plan.seeds):
        parts = {value: runs[method, value].get(seed) for value in values}
        if any(part is None for part in parts.values()):
            continue
        points = {f"{value:g}": part for value, part in parts.items() if part is not None}
        if METHODS[method].feed == "pool":
            ordered = sorted(points.values(), key=lambda part: part[-1]["step"])
            points = {"all": [ordered[0][0], *(part[-1] for part in ordered)]}
        found[seed] = {name: path_of(part) for name, part in points.items()}
    return found


def path_of(points: Sequence[Found]) -> Path:
    return Path(np.array([np.mean(one["kl"]) for one in points]), np.array([one["gold"] for one in points]))


def arranged(by_seed: Mapping[int, Mapping[str, Path]], seeds: Sequence[int]) -> dict[str, list[Path]]:
    """The paths by setting, over these seeds."""
    return {name: [by_seed[seed][name] for seed in seeds] for name in by_seed[seeds[0]]}


def level_rows(plan: Plan, paths: Mapping[str, Mapping[int, Mapping[str, Path]]], level: float) -> list[dict[str, Any]]:
    """A row per method: its gold score at a KL divergence, and how much more than the reference's it is, and than PPO's
    where it learns from the same reward model. A method that does not reach the level has a row without numbers."""
    rows = []
    for method in plan.grid:
        row: dict[str, Any] = {"name": method, "gold": None, "settings": []}
        by_seed = paths.get(method, {})
        reached = matched(arranged(by_seed, sorted(by_seed)), level) if by_seed else None
        if reached is not None:
            values, row["settings"] = reached
            row["gold"] = interval_of(values)
        bases = {"difference": reference(plan), "rival": RIVAL if method in rivals(plan) else None}
        for name, base in bases.items():
            row[name] = None if base is None or reached is None else paired(paths, method, base, level)
        rows.append(row)
    return rows


def paired(
    paths: Mapping[str, Mapping[int, Mapping[str, Path]]], method: str, base: str, level: float
) -> dict[str, float | None] | None:
    """How much higher the gold score of a method is than that of another at a KL divergence, by seed and prefix over
    the seeds that both have. None where one does not reach it, and of a method and itself.

    Whether its interval contains zero is the paired test whether they differ: a bootstrap test at 5 %, two-sided.
    """
    both = sorted(set(paths.get(method, {})) & set(paths.get(base, {})))
    if method == base or not both:
        return None
    mine, other = (matched(arranged(paths[one], both), level) for one in (method, base))
    return None if mine is None or other is None else interval_of(mine[0] - other[0])


def points_of(plan: Plan, runs: Runs, cells: Mapping[Cell, Found]) -> list[dict[str, Any]]:
    """Every point with its means, the standard errors of its gold score and its KL divergence over prefixes, and the
    CPU `seconds` of training until then: those of the reward model are in them where the method learns from it. The
    best of n, which trains nothing of its own, has none."""
    found = []
    for (method, value), by_seed in runs.items():
        feed = METHODS[method].feed
        bound = feed == "pool"
        for seed, points in sorted(by_seed.items()):
            before = cells[Cell(seed)]["seconds"] if feed == "reward" else 0.0
            for one in points[bound:]:
                known = {"name": method, "value": value, "seed": seed, "step": one["step"], "bound": bound}
                known["seconds"] = None if bound else before + one.get("seconds", 0.0)
                found.append(known | means_of(one) | {key: one[key] for key in SCALARS})
    return found


def means_of(point: Found) -> dict[str, float]:
    """Means and standard errors over prefixes; a bound on KL has none."""
    out: dict[str, float] = {}
    for key in ("gold", "kl"):
        values = np.array(point[key])
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        out |= {key: float(values.mean()), f"{key}_se": spread / len(values) ** 0.5}
    return out


def ends_of(plan: Plan, runs: Runs) -> list[dict[str, Any]]:
    """A row per setting: the last points' means over seeds, and how far the log-probabilities of the chosen and the
    rejected responses have moved from the start's, with 95 % intervals over seeds."""
    rows = []
    for (method, value), by_seed in runs.items():
        if not by_seed:
            continue
        last = [means_of(points[-1]) | {key: points[-1][key] for key in SCALARS} for points in by_seed.values()]
        first = [points[0] for points in by_seed.values()]
        row: dict[str, Any] = {"name": method, "value": value, "setting": name_of(method, value), "seeds": len(last)}
        for key in ("gold", "kl", *SCALARS[:4]):
            row[key] = average([one[key] for one in last])
        for key in ("chosen", "rejected"):
            moved = [b[key] - a[key] for a, b in zip(first, last, strict=True) if b[key] is not None]
            row[f"{key}_moved"] = seed_interval(moved) if len(moved) == len(last) else None
        rows.append(row)
    return rows


def average(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is not known."""
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def costs_of(plan: Plan, found: Mapping[Cell, Found]) -> dict[str, dict[str, Any]]:
    """CPU and wall-clock seconds, and tokens sampled and learned from, of a training: means over a method's cells.
    Measuring is not in them, of best of n the samples are those of the held-out prefixes. `reward` is a reward
    model's, `start` the start's with its pairs."""
    groups: dict[str, list[Found]] = {}
    for cell, one in found.items():
        groups.setdefault(cell.method or ("start" if cell.seed is None else "reward"), []).append(one)
    return {
        name: {key: average([one.get(key) for one in ones]) for key in COSTS} | {"runs": len(ones)}
        for name, ones in groups.items()
    }


def start_of(plan: Plan, found: Mapping[Cell, Found]) -> dict[str, Any] | None:
    """What is known of the start: its gold score, its pairs, and how many of their labels agree with the judge."""
    first = [found[Cell(seed)]["points"][0] for seed in range(plan.seeds) if Cell(seed) in found]
    if Cell() not in found or not first:
        return None
    own = {key: found[Cell()][key] for key in ("pairs", "agreed")}
    gold = interval_of(np.array([one["gold"] for one in first]))
    return own | {"gold": gold, "seeds": len(first)} | {key: average([one[key] for one in first]) for key in SCALARS}


def table(summary: Mapping[str, Any]) -> None:
    """Print gold at each level, and its difference from the reference."""
    for one in summary["levels"]:
        shown = Table(title=f"gold at {one['level']:g} nats", title_justify="left", box=SIMPLE)
        for column in ("method", "gold", "95 %", f"minus {summary['labels'][summary['reference']]}, 95 %"):
            shown.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
        for row in one["rows"]:
            shown.add_row(
                summary["labels"][row["name"]], mean_of(row["gold"]), *map(ends_in, (row["gold"], row["difference"]))
            )
        Console().print(shown)


def mean_of(interval: Mapping[str, Any] | None) -> str:
    return "not reached" if interval is None else f"{interval['mean']:+.2f}"


def ends_in(interval: Mapping[str, Any] | None) -> str:
    return "" if interval is None or interval["low"] is None else f"{interval['low']:+.2f} to {interval['high']:+.2f}"
