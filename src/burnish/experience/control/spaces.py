"""Gymnasium's spaces as plain arrays: observations are rows of numbers, actions are indices or rows of numbers."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float, Num

from burnish.run import UserError


@dataclass(frozen=True)
class ObservationReader:
    """Converts a batch of observations into rows: Box is flattened, Discrete becomes one-hot.

    The rows are float64 where the environment's own are, else float32.
    """

    space: gymnasium.Space
    size: int
    dtype: np.dtype

    def __call__(self, batch: Any) -> Float[np.ndarray, "n O"]:
        """Rows of observations shaped [n, *space]; always a new array. ValueError where they do not fit."""
        array = np.asarray(batch)
        if not isinstance(self.space, Discrete):
            return np.array(array.reshape(len(array), self.size), dtype=self.dtype)
        index = array.reshape(len(array)) - self.space.start
        if ((index < 0) | (index >= self.size)).any():
            raise ValueError(f"an observation is outside {self.space}: {array.tolist()}")
        return (index[:, None] == np.arange(self.size)).astype(self.dtype)


@dataclass(frozen=True)
class ActionWriter:
    """Converts the policy's actions into the environment's: a Discrete index is shifted, a Box is clipped and reshaped.

    The log-probability stays that of the action that the policy chose; clipping to the bounds of a Box happens here.
    """

    space: gymnasium.Space
    size: int
    continuous: bool

    def __call__(self, actions: Num[np.ndarray, "*n"]) -> np.ndarray:
        """Actions [...] from 0, or [..., A] of a Box, in the format of the space: [..., *space]."""
        if isinstance(self.space, Discrete):
            return np.asarray(actions, dtype=self.space.dtype) + self.space.start
        assert isinstance(self.space, Box)
        shaped = np.reshape(actions, (*np.shape(actions)[:-1], *self.space.shape)).astype(self.space.dtype)
        return np.clip(shaped, self.space.low, self.space.high)


def observation_reader(space: gymnasium.Space, name: str) -> ObservationReader:
    """The reader for the observations of the environment `name`."""
    if isinstance(space, Discrete):
        return ObservationReader(space, int(space.n), np.dtype(np.float32))
    if isinstance(space, Box):
        wide = space.dtype == np.float64
        return ObservationReader(space, int(np.prod(space.shape)), np.dtype(np.float64 if wide else np.float32))
    raise UserError(
        f"{name} has the observation space {space}, which is not supported: choose an environment whose "
        "observations are a Box or Discrete, or wrap it (gymnasium.wrappers.FlattenObservation flattens Dict and Tuple)"
    )


def action_writer(space: gymnasium.Space, name: str) -> ActionWriter:
    """The writer for the actions of the environment `name`."""
    if isinstance(space, Discrete):
        return ActionWriter(space, int(space.n), continuous=False)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return ActionWriter(space, int(np.prod(space.shape)), continuous=True)
    raise UserError(
        f"{name} has the action space {space}, which is not supported: choose an environment whose actions are "
        "Discrete or a Box of real numbers"
    )
