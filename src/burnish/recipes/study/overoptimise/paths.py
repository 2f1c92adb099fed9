"""Optimisations as paths of measurements, and how far those of several seeds are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.evaluation.overoptimisation import Run
from burnish.recipes.study.cell import Found
from burnish.recipes.study.intervals import FEWEST
from burnish.recipes.study.overoptimise.cells import Cell
from burnish.recipes.study.overoptimise.plan import METHODS, PPO, Plan


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
    def d(self) -> Float[np.ndarray, "K"]:
        """The distances √KL; a mean below 0 counts as 0."""
        return np.sqrt(np.maximum(0.0, self.kl.mean(axis=1)))

    @property
    def far(self) -> float:
        """The largest distance."""
        return float(self.d.max())


Paths = dict[tuple[str, int], dict[int, Path]]
"""By method and number of labels, and by seed."""


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


@dataclass(frozen=True)
class Shared:
    """What is compared at its end: which `seeds`, and the first so many `points` of each. The others, `without`, have
    fewer; where too few seeds would be left all are compared, as far as those which `cut` them short come."""

    seeds: list[int]
    points: int
    without: list[int]
    cut: list[int]


def shared_by(lengths: Mapping[int, int]) -> Shared:
    """Of paths with so many points by seed those that go farthest, or where these are too few for an interval, all."""
    most, fewest = max(lengths.values()), min(lengths.values())
    whole = [seed for seed, length in lengths.items() if length == most]
    if len(whole) >= min(FEWEST, len(lengths)):
        return Shared(whole, most, [seed for seed in lengths if seed not in whole], [])
    return Shared([*lengths], fewest, [], [seed for seed, length in lengths.items() if length == fewest])


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
