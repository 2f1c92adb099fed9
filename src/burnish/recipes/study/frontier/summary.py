"""The study's numbers: every point, the Pareto lines, reward at matched KL with paired differences, and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from burnish.recipes.study.cell import Found
from burnish.recipes.study.costs import average, costs_of
from burnish.recipes.study.frontier.cells import MODEL, Cell
from burnish.recipes.study.frontier.matched import Path, comparable, matched, pareto
from burnish.recipes.study.frontier.plan import METHODS, Plan, name_of
from burnish.recipes.study.intervals import interval_of, seed_interval
from burnish.report.language.frontier_words import fewer

REFERENCE = "dpo"
"""The method that others are compared with; the first one where it is not there."""

RIVAL = "ppo"
"""The method that others are compared with that learn from the same reward model."""

REWARDED = ("reward", "pool")
"""The feeds of methods that need a reward model."""

SCALARS = ("length", "entropy", "distinct_2", "ended", "chosen", "rejected")

Runs = dict[tuple[str, float], dict[int, list[Found]]]
"""By setting and seed, what was measured, the start first."""

Lost = dict[tuple[str, float], dict[int, int]]
"""By setting and seed, the step at which a training diverged."""

Paths = dict[int, dict[str, Path]]
"""By seed and setting."""


def settings_of(plan: Plan) -> list[tuple[str, float]]:
    """Every method and value of the grid."""
    return [(method, value) for method, values in plan.grid.items() for value in values]


def cells_of(plan: Plan, seed: int) -> list[Cell]:
    """The cells of a seed's settings; all sizes of best of n are one cell."""
    cells = [Cell(seed, method, value) for method, value in settings_of(plan) if METHODS[method].feed != "pool"]
    return cells + [Cell(seed, method) for method in plan.grid if METHODS[method].feed == "pool"]


def stopped(plan: Plan, found: Mapping[Cell, Found]) -> list[Cell]:
    """The cells that need a reward model which has diverged: they are never computed."""
    lost = [seed for seed in range(plan.seeds) if found.get(Cell(seed), {}).get("diverged") is not None]
    return [cell for seed in lost for cell in cells_of(plan, seed) if METHODS[cell.method or ""].feed in REWARDED]


def every_cell(plan: Plan) -> list[Cell]:
    """All cells in the order in which they are needed."""
    seeds = range(plan.seeds)
    return [Cell(), *(Cell(seed) for seed in seeds), *(cell for seed in seeds for cell in cells_of(plan, seed))]


def summarise(
    plan: Plan, found: Mapping[Cell, Found], failures: Mapping[str, str], command: str | None
) -> dict[str, Any]:
    """What the page shows, of the cells that are there; the others are among `failures` or `missing`."""
    runs, lost = runs_of(plan, found), lost_of(plan, found)
    compared = {method: compared_of(method, paths_of(method, plan, runs), lost) for method in plan.grid}
    paths = {method: by_seed for method, (by_seed, _) in compared.items() if by_seed}
    never = stopped(plan, found)
    wanted = [cell for cell in every_cell(plan) if cell not in found and cell not in never]
    return {
        "plan": asdict(plan),
        "labels": {method: name_of(method) for method in plan.grid},
        "seeds": {method: len(paths.get(method, {})) for method in plan.grid},
        "without": {method: without for method, (_, without) in compared.items() if without},
        "reference": reference(plan),
        "rival": RIVAL if rivals(plan) else None,
        "start": start_of(plan, found),
        "points": points_of(runs, lost, found),
        "lines": {method: pareto(arranged(by_seed, sorted(by_seed))) for method, by_seed in paths.items()},
        "levels": [{"level": level, "rows": level_rows(plan, paths, level)} for level in plan.levels],
        "ends": ends_of(runs, lost),
        "costs": costs_of(found),
        "diverged": [
            {"setting": setting_of(cell), "seed": cell.seed, "step": one["diverged"]}
            for cell, one in found.items()
            if one.get("diverged") is not None
        ],
        "stopped": [cell.label for cell in never],
        "missing": [cell.label for cell in wanted if cell.label not in failures],
        "failures": dict(failures),
        "command": command,
    }


def setting_of(cell: Cell) -> str:
    """What is trained in a cell, for readers."""
    return MODEL if cell.method is None else name_of(cell.method, cell.value)


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


def lost_of(plan: Plan, found: Mapping[Cell, Found]) -> Lost:
    """The trainings that have diverged."""
    lost: Lost = {setting: {} for setting in settings_of(plan)}
    for cell, one in found.items():
        step = one.get("diverged")
        if cell.method is not None and cell.value is not None and cell.seed is not None and step is not None:
            lost[cell.method, cell.value][cell.seed] = step
    return lost


def compared_of(method: str, by_seed: Paths, lost: Lost) -> tuple[Paths, dict[str, list[Any]] | None]:
    """The paths of a method that are compared, and the seeds and settings without which they are, because of trainings
    that have diverged; None where there are none."""
    if not by_seed:
        return {}, None
    names = list(next(iter(by_seed.values())))
    diverged = {
        seed: [f"{value:g}" for (one, value), steps in lost.items() if one == method and seed in steps]
        for seed in by_seed
    }
    kept, seeds = comparable(names, diverged)
    without: dict[str, list[Any]] = {
        "seeds": [one for one in by_seed if one not in seeds],
        "settings": [one for one in names if one not in kept],
    }
    paths = {seed: {name: by_seed[seed][name] for name in kept} for seed in seeds}
    return paths, without if any(without.values()) else None


def paths_of(method: str, plan: Plan, runs: Runs) -> Paths:
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


def level_rows(plan: Plan, paths: Mapping[str, Paths], level: float) -> list[dict[str, Any]]:
    """A row per method: its gold score at a KL divergence, and how much more than the reference's it is (`difference`),
    and than PPO's where it learns from the same reward model (`rival`), each over so many seeds. A method that does not
    reach the level has a row without numbers."""
    rows = []
    for method in plan.grid:
        row: dict[str, Any] = {"name": method, "gold": None, "settings": []}
        by_seed = paths.get(method, {})
        reached = matched(arranged(by_seed, sorted(by_seed)), level) if by_seed else None
        if reached is not None:
            values, row["settings"] = reached
            row["gold"] = interval_of(values)
        bases: dict[tuple[str, str], str | None] = {("difference", "paired"): reference(plan)}
        bases["rival", "rival_paired"] = RIVAL if method in rivals(plan) else None
        for (name, count), base in bases.items():
            known = base is not None and reached is not None
            row[name], row[count] = paired(paths, method, str(base), level) if known else (None, 0)
        rows.append(row)
    return rows


def paired(
    paths: Mapping[str, Paths], method: str, base: str, level: float
) -> tuple[dict[str, float | None] | None, int]:
    """How much higher the gold score of a method is than that of another at a KL divergence, by seed and prefix over
    the seeds that both have, and how many these are. None where one does not reach it, and of a method and itself.

    Whether its interval contains zero is the paired test whether they differ: a bootstrap test at 5 %, two-sided.
    """
    both = sorted(set(paths.get(method, {})) & set(paths.get(base, {})))
    if method == base or not both:
        return None, 0
    mine, other = (matched(arranged(paths[one], both), level) for one in (method, base))
    return (None, 0) if mine is None or other is None else (interval_of(mine[0] - other[0]), len(both))


def points_of(runs: Runs, lost: Lost, cells: Mapping[Cell, Found]) -> list[dict[str, Any]]:
    """Every point with its means, the standard errors of its gold score and its KL divergence over prefixes, and the
    CPU `seconds` of training until then: those of the reward model are in them where the method learns from it. The
    best of n, which trains nothing of its own, has none. And the step at which its training `diverged` afterwards, or
    None."""
    found = []
    for (method, value), by_seed in runs.items():
        feed = METHODS[method].feed
        bound = feed == "pool"
        for seed, points in sorted(by_seed.items()):
            before = cells[Cell(seed)]["seconds"] if feed == "reward" else 0.0
            for one in points[bound:]:
                known = {"name": method, "value": value, "seed": seed, "step": one["step"], "bound": bound}
                known["seconds"] = None if bound else before + one.get("seconds", 0.0)
                known["diverged"] = lost[method, value].get(seed)
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


def ends_of(runs: Runs, lost: Lost) -> list[dict[str, Any]]:
    """A row per setting: the last points' means over the seeds that have not diverged, and how far the
    log-probabilities of the chosen and the rejected responses have moved from the start's, with 95 % intervals over
    these seeds. Those that have `diverged` are named with their steps."""
    rows = []
    for (method, value), by_seed in runs.items():
        if not by_seed:
            continue
        diverged = lost[method, value]
        whole = [points for seed, points in by_seed.items() if seed not in diverged]
        last = [means_of(points[-1]) | {key: points[-1][key] for key in SCALARS} for points in whole]
        first = [points[0] for points in whole]
        row: dict[str, Any] = {"name": method, "value": value, "setting": name_of(method, value), "seeds": len(last)}
        row["diverged"] = [{"seed": seed, "step": step} for seed, step in sorted(diverged.items())]
        for key in ("gold", "kl", *SCALARS[:4]):
            row[key] = average([one[key] for one in last])
        for key in ("chosen", "rejected"):
            moved = [b[key] - a[key] for a, b in zip(first, last, strict=True) if b[key] is not None]
            row[f"{key}_moved"] = seed_interval(moved) if moved and len(moved) == len(last) else None
        rows.append(row)
    return rows


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
    if some := fewer(summary):
        Console().print(f"Of fewer than {summary['plan']['seeds']} seeds: {'; '.join(some)}.", highlight=False)


def mean_of(interval: Mapping[str, Any] | None) -> str:
    return "not reached" if interval is None else f"{interval['mean']:+.2f}"


def ends_in(interval: Mapping[str, Any] | None) -> str:
    return "" if interval is None or interval["low"] is None else f"{interval['low']:+.2f} to {interval['high']:+.2f}"
