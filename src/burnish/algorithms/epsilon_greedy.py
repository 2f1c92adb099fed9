"""Exploration by uniform actions: the common base of methods whose policy takes the best action that it knows."""

from dataclasses import dataclass
from typing import Any

from burnish.algorithms.interface import Algorithm
from burnish.options import option


@dataclass(frozen=True)
class EpsilonGreedy(Algorithm):
    """With probability ε an action is uniform, else the best; ε falls linearly over the first part of a run.

    ε = initial + (final − initial) · min(1, progress / fraction)

    Names and defaults are those of Stable-Baselines3's `DQN`.
    """

    exploration_fraction: float = option(
        0.1, "share of a run's steps, or episodes, over which the share of uniform actions falls", gt=0, le=1
    )
    exploration_initial_eps: float = option(1.0, "share of uniform actions at the start", ge=0, le=1)
    exploration_final_eps: float = option(0.05, "share of uniform actions after exploration_fraction", ge=0, le=1)

    def explores(self, progress: Any) -> Any:
        reached = (progress / self.exploration_fraction).clip(max=1.0)
        return self.exploration_initial_eps + (self.exploration_final_eps - self.exploration_initial_eps) * reached
