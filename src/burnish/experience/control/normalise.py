"""Running statistics per run, which normalise observations and rewards."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Num

EPSILON = 1e-8
STATISTICS = ("count", "mean", "variance")


class Moments:
    """Count, mean and population variance of the values seen by each run; mean 0 and variance 1 at the start.

        δ = x̄ − mean,  n' = n + m,  mean' = mean + δ·m/n',  n'·var' = n·var + m·var(x) + δ²·n·m/n'

    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances",
    equations 2.1. Values that are not real are ignored; a run without a real value does not change.
    """

    def __init__(self, runs: int, size: int) -> None:
        self.count = np.zeros(runs)
        self.mean, self.variance = np.zeros((runs, size)), np.ones((runs, size))

    def update(self, values: Num[np.ndarray, "R E K"], real: Bool[np.ndarray, "R E"]) -> None:
        """Add each run's real values."""
        some = real.sum(axis=1)
        chosen = np.where(real[..., None], values, 0.0).astype(np.float64)
        number = np.maximum(some, 1)[:, None]
        mean = chosen.sum(axis=1) / number
        squares = (np.where(real[..., None], chosen - mean[:, None], 0.0) ** 2).sum(axis=1)
        old, total = self.count[:, None], np.maximum(self.count + some, 1)[:, None]
        delta = mean - self.mean
        share = some[:, None] / total
        moved = (some > 0)[:, None]
        spread = (old * self.variance + squares + delta**2 * old * share) / total
        self.mean = np.where(moved, self.mean + delta * share, self.mean)
        self.variance = np.where(moved, spread, self.variance)
        self.count = self.count + some

    def named(self, run: int) -> dict[str, np.ndarray]:
        """A copy of the statistics of the run at this position, for saving."""
        return {name: np.array(getattr(self, name)[run], np.float64) for name in STATISTICS}

    def load_named(self, run: int, saved: Mapping[str, np.ndarray]) -> None:
        """Load statistics in the format of `named`. Raises ValueError where names or shapes do not match."""
        if {name: np.shape(value) for name, value in saved.items()} != {k: v.shape for k, v in self.named(run).items()}:
            raise ValueError(f"saved statistics {', '.join(saved) or 'without values'} do not match")
        for name in STATISTICS:
            getattr(self, name)[run] = saved[name]

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions."""
        chosen = [int(i) for i in index]
        self.count, self.mean, self.variance = self.count[chosen], self.mean[chosen], self.variance[chosen]


class ObservationNormaliser:
    """Normalises each run's observations by what that run has seen: (x − mean) / √(variance + 1e-8), clipped."""

    def __init__(self, runs: int, size: int, clip: float = 10.0) -> None:
        self.moments, self.clip = Moments(runs, size), clip

    def update(self, observations: Num[np.ndarray, "R E O"], real: Bool[np.ndarray, "R E"]) -> None:
        """Add observations to the statistics."""
        self.moments.update(observations, real)

    def __call__(self, observations: Num[np.ndarray, "R *any O"]) -> Float[np.ndarray, "R *any O"]:
        """The normalised observations, in their own dtype, or float32 of bytes. The statistics do not change."""
        mean, variance = self.moments.mean, self.moments.variance
        shape = (len(mean), *(1,) * (observations.ndim - 2), mean.shape[1])
        scaled = (observations - mean.reshape(shape)) / np.sqrt(variance + EPSILON).reshape(shape)
        return np.clip(scaled, -self.clip, self.clip).astype(
            np.float32 if observations.dtype == np.uint8 else observations.dtype
        )

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions."""
        self.moments.keep(index)


class RewardNormaliser:
    """Divides each run's rewards by the spread of its discounted return: r / √(variance(G) + 1e-8), clipped.

        G_t = γ·G_{t−1} + r_t in each copy, and 0 again once the episode has ended

    Not centred, because subtracting a mean from every step would reward longer or shorter episodes. As in
    Stable-Baselines3's `VecNormalize` and Gymnasium's `NormalizeReward`; the latter resets the sum before an episode's
    last reward, the former after it, as here. Differs: they start with a variance of 1 that counts as 10⁻⁴ of a step;
    here only observed values count.
    """

    def __init__(self, runs: int, copies: int, gamma: float, clip: float = 10.0) -> None:
        self.moments, self.gamma, self.clip = Moments(runs, 1), gamma, clip
        self.so_far = np.zeros((runs, copies))

    def __call__(
        self, rewards: Float[np.ndarray, "R E"], ended: Bool[np.ndarray, "R E"], real: Bool[np.ndarray, "R E"]
    ) -> Float[np.ndarray, "R E"]:
        """Add the rewards to the statistics and return them normalised; 0 where they are not real."""
        rewards = np.where(real, rewards, 0.0)
        so_far = np.where(real, self.gamma * self.so_far + rewards, self.so_far)
        self.moments.update(so_far[..., None], real)
        self.so_far = np.where(ended & real, 0.0, so_far)
        return np.clip(rewards / np.sqrt(self.moments.variance + EPSILON), -self.clip, self.clip)

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions."""
        self.moments.keep(index)
        self.so_far = self.so_far[[int(i) for i in index]]
