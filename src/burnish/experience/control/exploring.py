"""Actions that no policy chose: exploration, from a random stream per run."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from burnish.policies.control.network import Acting, noise_shape

EXPLORATION_STREAM = 8
NOISE_AT_ONCE = 64


class Exploration:
    """Replaces each action, with a probability per run, by one that is uniform over all.

    `share` gives the probabilities after the share of each run that is behind it; before a run's first `warm_up` steps
    are made, all are uniform. An action of real numbers is uniform in (−1, 1), which is what squashed policies choose.
    """

    def __init__(
        self,
        share: Callable[[np.ndarray], Any],
        environments: Acting,
        seeds: Sequence[int],
        copies: int,
        warm_up: int,
    ) -> None:
        self.share, self.kind, self.warm_up = share, environments, warm_up
        self.streams = [np.random.Generator(np.random.PCG64([seed, EXPLORATION_STREAM])) for seed in seeds]
        several = noise_shape(environments) or (1,)
        self.shape = (NOISE_AT_ONCE, copies, 1 + several[0])
        self.noise, self.at = np.empty((len(seeds), 0)), NOISE_AT_ONCE

    def __call__(self, actions: Num[np.ndarray, "R E *A"], ledger: Any) -> Num[np.ndarray, "R E *A"]:
        """The actions to take, by the ledger's steps and progress."""
        if self.at == NOISE_AT_ONCE:  # drawn many at a time, because a call costs the same
            self.noise, self.at = np.stack([stream.random(self.shape) for stream in self.streams]), 0
        noise, self.at = self.noise[:, self.at], self.at + 1
        warm = ledger.steps < self.warm_up
        explored = noise[..., 0] < np.where(warm, 1.0, self.share(ledger.progress()))[:, None]
        return self._mixed(actions, explored, noise[..., 1:])

    def keep(self, index: Iterable[int]) -> None:
        """Keep only the runs at these positions."""
        chosen = [int(i) for i in index]
        self.streams, self.noise = [self.streams[i] for i in chosen], self.noise[chosen]

    def _mixed(
        self, actions: np.ndarray, explored: np.ndarray, noise: Float[np.ndarray, "R E K"]
    ) -> Num[np.ndarray, "R E *A"]:
        if self.kind.continuous:
            return np.where(explored[..., None], (2 * noise - 1).astype(actions.dtype), actions)
        if self.kind.choices:
            return np.where(explored[..., None], (noise * np.array(self.kind.choices)).astype(actions.dtype), actions)
        return np.where(explored, (noise[..., 0] * self.kind.actions).astype(actions.dtype), actions)
