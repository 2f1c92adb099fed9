"""Gymnasium's spaces as plain arrays: an observation is a row of numbers, an action an index or a row of numbers."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float, Num

from burnish.run import UserError


@dataclass(frozen=True)
class ObservationReader:
    """Turns a batch of observations into rows: Box is flattened, Discrete becomes one-hot.

    The rows are float64 where the environment's own are, else float32.
    """

    space: gymnasium.Space
    size: int
    dtype: np.dtype

    def __call__(self, batch: Any) -> Float[np.ndarray, "n O"]:
        """Rows of observations shaped [n, *space]; always an array of their own. ValueError where they do not fit."""
        array = np.asarray(batch)
        if not isinstance(self.space, Discrete):
            return np.array(array.reshape(len(array), self.size), dtype=self.dtype)
        index = array.reshape(len(array)) - self.space.start
        if ((index < 0) | (index >= self.size)).any():
            raise ValueError(f"an observation is outside {self.space}: {array.tolist()}")
        return (index[:, None] == np.arange(self.size)).astype(self.dtype)


@dataclass(frozen=True)
class ActionWriter:
    """Turns the policy's actions into the environment's: Discrete may begin at any number, Box is clipped and shaped.

    The policy keeps the log-probability of what it chose; an action beyond the bounds of a Box is cut to them here.
    """

    space: gymnasium.Space
    size: int
    continuous: bool

    def __call__(self, actions: Num[np.ndarray, "*n"]) -> np.ndarray:
        """[..., ] whole numbers from 0 on, or [..., A] of a Box, as the space has them: [..., *space]."""
        if isinstance(self.space, Discrete):
            return np.asarray(actions, dtype=self.space.dtype) + self.space.start
        assert isinstance(self.space, Box)
        shaped = np.reshape(actions, (*np.shape(actions)[:-1], *self.space.shape)).astype(self.space.dtype)
        return np.clip(shaped, self.space.low, self.space.high)


def observation_reader(space: gymnasium.Space, name: str) -> ObservationReader:
    """How to read the observations of the environment called `name`."""
    if isinstance(space, Discrete):
        return ObservationReader(space, int(space.n), np.dtype(np.float32))
    if isinstance(space, Box):
        wide = space.dtype == np.float64
        return ObservationReader(space, int(np.prod(space.shape)), np.dtype(np.float64 if wide else np.float32))
    raise UserError(
        f"{name} has the observation space {space}, which cannot be read: choose an environment whose observations "
        "are a Box or Discrete, or wrap it (gymnasium.wrappers.FlattenObservation flattens a Dict or Tuple)"
    )


def action_writer(space: gymnasium.Space, name: str) -> ActionWriter:
    """How to act in the environment called `name`."""
    if isinstance(space, Discrete):
        return ActionWriter(space, int(space.n), continuous=False)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return ActionWriter(space, int(np.prod(space.shape)), continuous=True)
    raise UserError(
        f"{name} has the action space {space}, in which no policy here can act: choose an environment whose actions "
        "are Discrete or a Box of real numbers"
    )
