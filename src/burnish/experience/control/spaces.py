"""Gymnasium's spaces as plain arrays: observations are rows of numbers, actions are indices or rows of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from jaxtyping import Num

from burnish.run import UserError

WIDE, NARROW = 10.0, 0.1
"""A policy draws its first actions with mean 0 and standard deviation 1: half the widths of bounds that suit this."""
LARGEST = float(np.finfo(np.float32).max)
"""Policies compute in float32: a larger number of an environment's overflows."""
RESCALED_ACTIONS = "gymnasium.wrappers:RescaleAction(min_action=-1, max_action=1)"
RESCALED_OBSERVATIONS = "gymnasium.wrappers:RescaleObservation(min_obs=-1, max_obs=1)"
"""Wrappers that help where bounds do not suit a policy, as `--wrapper` and `wrappers` take them."""


@dataclass(frozen=True)
class ObservationReader:
    """Converts a batch of observations into rows of numbers.

    Box is flattened and Discrete becomes one-hot, as does each number of a MultiDiscrete; the parts of Dict and Tuple
    stand one behind the other. Rows are float64 where the environment's own are, else float32. Bytes from 0 to 255 are
    divided by 255. Only an image, a Box of such bytes with three dimensions, stays uint8, channels first; `image` is
    its number of channels, height and width.
    """

    space: gymnasium.Space
    size: int
    dtype: np.dtype
    image: tuple[int, int, int] | None = None

    def __call__(self, batch: Any) -> Num[np.ndarray, "n O"]:
        """Rows of observations shaped [n, *space]; always a new array. ValueError where they do not fit."""
        if self.image is None:
            return _rows(self.space, batch, self.dtype)
        pixels = np.asarray(batch)
        if pixels.shape[1:] != self.space.shape:
            raise ValueError(f"an image of shape {pixels.shape[1:]} where {self.space.shape} was declared")
        if pixels.shape[1:] != self.image:
            pixels = np.moveaxis(pixels, -1, 1)
        return np.array(pixels.reshape(len(pixels), self.size), dtype=np.uint8)


def _rows(space: gymnasium.Space, batch: Any, dtype: np.dtype) -> np.ndarray:
    """A batch as rows. Of Dict and Tuple, it is a Dict or Tuple of batches, as vectors of environments give it, or a
    list of single observations."""
    if isinstance(space, Dict):
        own = batch if isinstance(batch, Mapping) else {key: [one[key] for one in batch] for key in space.spaces}
        return np.concatenate([_rows(part, own[key], dtype) for key, part in space.spaces.items()], 1)
    if isinstance(space, Tuple):
        each = batch if isinstance(batch, tuple) else [[one[i] for one in batch] for i in range(len(space.spaces))]
        return np.concatenate([_rows(part, own, dtype) for part, own in zip(space.spaces, each, strict=True)], 1)
    array = np.asarray(batch)
    if array.size != len(array) * int(np.prod(space.shape)):  # type: ignore[arg-type]
        raise ValueError(f"an observation of shape {array.shape[1:]} where {space} was declared")
    if isinstance(space, Discrete):
        return _one_hot(space, array.reshape(len(array), 1) - space.start, [int(space.n)], dtype)
    if isinstance(space, MultiDiscrete):
        flat = array.reshape(len(array), space.nvec.size) - space.start.reshape(-1)
        return _one_hot(space, flat, space.nvec.reshape(-1).tolist(), dtype)
    rows = np.array(array.reshape(len(array), _size(space)), dtype=dtype)
    return rows / dtype.type(255) if _bytes(space) else rows


def _one_hot(space: gymnasium.Space, index: np.ndarray, counts: list[int], dtype: np.dtype) -> np.ndarray:
    """Each column of `index` `[n, K]` as as many columns as it has values."""
    if ((index < 0) | (index >= np.array(counts))).any():
        raise ValueError(f"an observation is outside {space}: {(index + space.start).tolist()}")  # type: ignore[attr-defined]
    return np.concatenate([index[:, [k]] == np.arange(n) for k, n in enumerate(counts)], 1).astype(dtype)


def _size(space: gymnasium.Space) -> int:
    """How many numbers a row has."""
    if isinstance(space, Dict | Tuple):
        return sum(map(_size, _parts(space)))
    if isinstance(space, Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, MultiDiscrete) else int(np.prod(space.shape))  # type: ignore[arg-type]


def _parts(space: Any) -> list[gymnasium.Space]:
    return list(space.spaces.values() if isinstance(space, Dict) else space.spaces)


def _bytes(space: gymnasium.Space) -> bool:
    """Whether these are the bytes of an image or of a memory."""
    return (
        isinstance(space, Box) and space.dtype == np.uint8 and bool((space.low == 0).all() & (space.high == 255).all())
    )


def _readable(space: gymnasium.Space) -> bool:
    if isinstance(space, Dict | Tuple):
        return all(map(_readable, _parts(space)))
    return isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary)


def _wide(space: gymnasium.Space) -> bool:
    return any(map(_wide, _parts(space))) if isinstance(space, Dict | Tuple) else space.dtype == np.float64


@dataclass(frozen=True)
class ActionWriter:
    """Converts the policy's actions into the environment's: a Discrete index is shifted, a Box is clipped and reshaped.

    `size` is the number of the policy's outputs. An action of MultiDiscrete or MultiBinary is one index per choice, and
    `choices` has the numbers of their values; it is empty for the others. The log-probability stays that of the action
    that the policy chose; clipping to the bounds of a Box happens here. With `scaled`, actions of a Box lie in [−1, 1],
    and become centre + half width · action.
    """

    space: gymnasium.Space
    size: int
    continuous: bool
    choices: tuple[int, ...] = ()
    scaled: bool = False

    def __call__(self, actions: Num[np.ndarray, "*n"]) -> np.ndarray:
        """Actions [...] from 0, [..., K] with several choices, or [..., A] of a Box, in the format of the space:
        [..., *space]."""
        if isinstance(self.space, Discrete):
            return np.asarray(actions, dtype=self.space.dtype) + self.space.start
        if self.scaled and isinstance(self.space, Box):
            low, high = self.space.low.reshape(-1).astype(np.float64), self.space.high.reshape(-1).astype(np.float64)
            actions = (low + high) / 2 + (high - low) / 2 * actions
        shaped = np.reshape(actions, (*np.shape(actions)[:-1], *self.space.shape)).astype(self.space.dtype)  # type: ignore[misc]
        if isinstance(self.space, MultiDiscrete):
            return shaped + self.space.start
        return np.clip(shaped, self.space.low, self.space.high) if isinstance(self.space, Box) else shaped


def observation_reader(space: gymnasium.Space, name: str) -> ObservationReader:
    """The reader for the observations of the environment `name`."""
    if not _readable(space):
        raise UserError(
            f"{name} has the observation space {space}, which is not supported: choose an environment whose "
            "observations are a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict or Tuple of these, or wrap it "
            "(gymnasium.wrappers.TransformObservation)"
        )
    if (size := _size(space)) == 0:
        raise UserError(f"{name} has the observation space {space}, which has no numbers: let it observe something")
    if _bytes(space) and len(space.shape) == 3:  # type: ignore[arg-type]
        height, width, channels = space.shape  # type: ignore[misc]
        first = height < min(width, channels)  # few layers of many pixels: channels come first already
        image = (height, width, channels) if first else (channels, height, width)
        return ObservationReader(space, size, np.dtype(np.uint8), image)
    return ObservationReader(space, size, np.dtype(np.float64 if _wide(space) else np.float32))


def action_writer(space: gymnasium.Space, name: str, scaled: bool = False) -> ActionWriter:
    """The writer for the actions of the environment `name`; `scaled`: from [−1, 1] to the bounds of a Box."""
    shape: tuple[int, ...] = space.shape or ()
    if isinstance(space, Box | MultiDiscrete | MultiBinary) and 0 in shape:
        raise UserError(f"{name} has the action space {space}, which has no numbers: let it have something to choose")
    if isinstance(space, Discrete):
        return ActionWriter(space, int(space.n), continuous=False)
    if isinstance(space, MultiDiscrete | MultiBinary):
        each = space.nvec.reshape(-1).tolist() if isinstance(space, MultiDiscrete) else [2] * int(np.prod(shape))
        choices = tuple(each)
        return ActionWriter(space, sum(choices), continuous=False, choices=choices)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return ActionWriter(space, int(np.prod(shape)), continuous=True, scaled=scaled)
    raise UserError(
        f"{name} has the action space {space}, which is not supported: choose an environment whose actions are "
        "Discrete, MultiDiscrete, MultiBinary or a Box of real numbers"
    )


def unusable(numbers: Num[np.ndarray, "n O"]) -> tuple[int, str] | None:
    """The first row with a number that no policy computes with, and what is wrong with it, in words; None if all are
    fine."""
    if numbers.dtype == np.uint8 or (fine := np.abs(numbers) <= LARGEST).all():
        return None
    row, k = np.argwhere(~fine)[0].tolist()
    if not np.isfinite(numbers[row]).all():
        return row, "that is not finite"
    return row, f"of {numbers[row, k]:g}, which overflows float32: scale it"


def unsuited(space: gymnasium.Space) -> str | None:
    """What is wrong with the bounds of a Box of actions for a policy whose first actions have mean 0 and standard
    deviation 1, and what helps; None where nothing is."""
    if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
        return None
    low, high = space.low.astype(np.float64).reshape(-1), space.high.astype(np.float64).reshape(-1)
    half = (high - low) / 2
    problems = {
        "far from 0": (low > 1) | (high < -1),
        "narrow": half < NARROW,
        "wide": np.isfinite(half) & (half > WIDE),
    }
    problem = next((name for name, where in problems.items() if where.any()), None)
    if problem is None:
        return None
    at = int(np.argmax(problems[problem]))
    return (
        f"its actions have bounds {problem}, {low[at]:g} to {high[at]:g}, and a policy begins with actions of mean 0 "
        f"and standard deviation 1, so that it may learn nothing: wrap the environment, --wrapper '{RESCALED_ACTIONS}'"
    )


def unplayable(head: str, observations: gymnasium.Space, actions: gymnasium.Space) -> str | None:
    """What a policy with this head (`policies.control.network.Head`) cannot do with spaces, and what helps; None where
    it can do all."""
    if head == "table" and not isinstance(observations, Discrete):
        return f"needs a table of states, and observations are {observations}: choose one with Discrete observations"
    if head in ("table", "values") and not isinstance(actions, Discrete):
        advice = "sac takes a Box" if isinstance(actions, Box) else "ppo takes them"
        return f"needs a value of each action, and actions are {actions}: choose one with Discrete actions; {advice}"
    if head == "squashed":
        real = isinstance(actions, Box) and np.issubdtype(actions.dtype, np.floating)
        if not (real and actions.is_bounded()):  # type: ignore[attr-defined]
            advice = "dqn takes Discrete ones" if isinstance(actions, Discrete) else "ppo takes others"
            return f"needs a Box of real numbers with bounds, and actions are {actions}: choose one with such; {advice}"
        if _bytes(observations) and len(observations.shape or ()) == 3:
            return f"reads no images, and observations are {observations}: wrap it so that it gives numbers"
    return None
