"""Reward at a matched KL divergence, and Pareto lines: arithmetic on measured paths.

A path is what one training went through, the start first: the KL divergence of each of its points, and the gold score
of every held-out prefix there. √KL is a distance, along which paths are nearly straight (Gao et al. 2022).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.evaluation.statistics import bootstrap_interval
from burnish.recipes.study.intervals import FEWEST

RESAMPLES = 2000


@dataclass(frozen=True)
class Path:
    """`kl` of each point, in nats, and `gold` of each point and prefix."""

    kl: Float[np.ndarray, "K"]
    gold: Float[np.ndarray, "K P"]

    def at(self, level: float) -> Float[np.ndarray, "P"] | None:
        """The gold scores where the path first reaches a KL divergence of `level`; None where it never does.

        Between two points, linear in √KL: g = (1 − w)·g₀ + w·g₁, w = (√level − √k₀) / (√k₁ − √k₀). A KL estimate below
        0 counts as 0.
        """
        far, goal = np.sqrt(np.maximum(self.kl, 0.0)), np.sqrt(level)
        reached = np.flatnonzero(far >= goal)
        if not len(reached):
            return None
        i = int(reached[0])
        if i == 0:
            return self.gold[0]
        w = (goal - far[i - 1]) / (far[i] - far[i - 1])
        return (1 - w) * self.gold[i - 1] + w * self.gold[i]


Settings = Mapping[str, Sequence[Path]]
"""The paths of a method's settings, each over the same seeds in the same order."""


def matched(settings: Settings, level: float) -> tuple[Float[np.ndarray, "S P"], list[str]] | None:
    """The gold scores of a method at a KL divergence, by seed and prefix, and the settings that they come from.

    Of several settings that reach `level` with every seed, the best is taken, without rewarding luck: for the even
    prefixes the one that is best on the odd ones, and the other way round. None where no setting reaches it.
    """
    found = {}
    for name, paths in settings.items():
        reached = [gold for path in paths if (gold := path.at(level)) is not None]
        if reached and len(reached) == len(paths):
            found[name] = np.stack(reached)
    if not found:
        return None
    cells = np.zeros_like(next(iter(found.values())))
    even = np.arange(cells.shape[1]) % 2 == 0
    picked = []
    for half in (even, ~even):
        judged_on = ~half if (~half).any() else half
        name = max(found, key=lambda one: float(found[one][:, judged_on].mean()))
        cells[:, half] = found[name][:, half]
        picked.append(name)
    return cells, list(dict.fromkeys(picked))


def comparable(names: Sequence[str], lost: Mapping[int, Collection[str]]) -> tuple[list[str], list[int]]:
    """Which settings of a method, and which seeds, are compared: all those settings with all those seeds, of which no
    training has diverged. `lost` has by seed the names of the settings that diverged.

    Seeds with which a setting diverged are left out. Where too few are left for an interval, the setting that diverged
    with most seeds is left out instead, and so on; the last setting stays.
    """
    kept, enough = list(names), min(FEWEST, len(lost))
    while True:
        seeds = [seed for seed, some in lost.items() if not {*kept} & {*some}]
        if len(seeds) >= enough or len(kept) < 2:
            return kept, seeds
        kept.remove(max(kept, key=lambda name: sum(name in some for some in lost.values())))


def highest(paths: Sequence[Path], limits: Float[np.ndarray, "L"]) -> Float[np.ndarray, "L"]:
    """The Pareto line of one seed: the highest mean gold score of any point with a KL divergence of at most a limit."""
    kl = np.concatenate([path.kl for path in paths])
    gold = np.concatenate([path.gold.mean(axis=1) for path in paths])
    return np.array([gold[kl <= limit * (1 + 1e-12)].max(initial=-np.inf) for limit in limits])


def pareto(settings: Settings, points: int = 24) -> list[dict[str, float | None]]:
    """The Pareto line of a method: means over seeds of each seed's own, with an interval over two seeds or more.

    The limits are equally far apart in √KL, from 0 to where the seed that goes least far ends.
    """
    by_seed = [[paths[s] for paths in settings.values()] for s in range(len(next(iter(settings.values()))))]
    far = min(max(float(path.kl.max()) for path in paths) for paths in by_seed)
    limits = np.linspace(0.0, np.sqrt(max(far, 0.0)), points) ** 2
    limits[0] = max(0.0, *(float(path.kl[0]) for paths in by_seed for path in paths))
    values = np.stack([highest(paths, limits) for paths in by_seed])
    line: list[dict[str, float | None]] = []
    for limit, heights in zip(limits, values.T, strict=True):
        found: dict[str, float | None] = {"mean": float(heights.mean()), "low": None, "high": None}
        if len(heights) >= FEWEST:
            found = {**bootstrap_interval(heights, resamples=RESAMPLES).as_dict()}
        line.append({"kl": float(limit), **found})
    return line
