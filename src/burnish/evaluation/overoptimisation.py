"""Over-optimisation: how the gold score changes with the distance d = √KL from the start, as a proxy is optimised.

Gao et al. (2022), "Scaling Laws for Reward Model Overoptimization", describe it by a form with two coefficients for
each of two ways to optimise, and both forms are linear in them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Form = Literal["best_of_n", "rl"]


@dataclass(frozen=True)
class Fit:
    """A form with its coefficients."""

    form: Form
    alpha: float
    beta: float

    def at(self, d: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K"]:
        """The gain of the gold score at the distances `d`, see `fitted`."""
        return columns(self.form, d) @ np.array([self.alpha, self.beta])

    @property
    def peak(self) -> float:
        """The distance d* ≥ 0 of the highest gain; infinite where the form has no highest one, β ≤ 0.

        d* = α/(2β) of the best of n, at least 0;  d* = exp(α/β − 1) of reinforcement learning
        """
        if self.beta <= 0:
            return math.inf
        if self.form == "best_of_n":
            return max(0.0, self.alpha / (2 * self.beta))
        with np.errstate(over="ignore"):
            return float(np.exp(self.alpha / self.beta - 1))


def columns(form: Form, d: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K 2"]:
    """What α and β are multiplied with: d, and −d² or −d log d, which is 0 at 0."""
    d = np.asarray(d, dtype=float)
    if form == "best_of_n":
        return np.stack([d, -d * d], axis=1)
    return np.stack([d, -d * np.log(np.where(d > 0, d, 1.0))], axis=1)


def fitted(form: Form, d: Float[np.ndarray, "K"], gains: Float[np.ndarray, "K"]) -> Fit | None:
    """The coefficients with the least squared error; None where the points do not determine them.

    R(d) = d (α − β d) of the best of n,  R(d) = d (α − β log d) of reinforcement learning,  d = √KL(π ‖ start)

    `gains` are gold scores less the start's, so that R(0) = 0. Both forms are those of Gao et al. (2022).
    Raises ValueError for distances below 0, and for numbers that are not finite.
    """
    d, gains = np.asarray(d, dtype=float), np.asarray(gains, dtype=float)
    if not (np.isfinite(d).all() and np.isfinite(gains).all() and (d >= 0).all()):
        raise ValueError("a fit needs finite gains and finite distances of at least 0")
    found, _, rank, _ = np.linalg.lstsq(columns(form, d), gains, rcond=None)
    return Fit(form, float(found[0]), float(found[1])) if rank == 2 else None


@dataclass(frozen=True)
class Run:
    """What one optimisation went through: KL from the start and gain of the gold score at each point and prefix."""

    kl: Float[np.ndarray, "K P"]
    gain: Float[np.ndarray, "K P"]

    def points(self, weights: Float[np.ndarray, "P"]) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
        """The distances and gains of the points, with these weights of the prefixes; a KL estimate below 0 counts as
        0."""
        return np.sqrt(np.maximum(0.0, self.kl @ weights)), self.gain @ weights


def fit_of(form: Form, runs: Sequence[Run], weights: Float[np.ndarray, "P"] | None = None) -> Fit | None:
    """One fit to the points of all runs, over the same prefixes; without `weights` each prefix counts the same."""
    if weights is None:
        prefixes = runs[0].kl.shape[1]
        weights = np.full(prefixes, 1 / prefixes)
    parts = [run.points(weights) for run in runs]
    return fitted(form, np.concatenate([d for d, _ in parts]), np.concatenate([gain for _, gain in parts]))


def resampled(form: Form, runs: Sequence[Run], resamples: int = 2000, seed: int = 0) -> list[Fit | None]:
    """Fits of resamples of runs and prefixes, crossed, as `statistics.clustered_interval` draws them.

    The draws depend on the numbers of runs and prefixes alone: fits of other runs over the same seeds and prefixes are
    paired with these, resample by resample. A resample whose points do not determine a fit is None.
    """
    rng = np.random.default_rng(seed)
    prefixes = runs[0].kl.shape[1]
    uniform = np.full(prefixes, 1 / prefixes)
    found = []
    for _ in range(resamples):
        chosen = rng.integers(len(runs), size=len(runs))
        weights = rng.multinomial(prefixes, uniform) / prefixes
        found.append(fit_of(form, [runs[i] for i in chosen], weights))
    return found


def ends_of(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The ends of a percentile interval of resampled values, of which some may be infinite: values that were there."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(values, dtype=float), [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
