"""Gymnasium's spaces as JSON, and back."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from burnish.run import UserError


def described(space: gymnasium.Space) -> dict[str, Any]:
    """A space as JSON: its type and what its constructor takes. Bounds that are all equal are one number.

    Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these. Raises UserError for any other space.
    """
    kind = type(space).__name__
    if isinstance(space, Box):
        bounds = {name: numbers(getattr(space, name)) for name in ("low", "high")}
        return {"type": kind, **bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
    if isinstance(space, Discrete):
        return {"type": kind, "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, MultiDiscrete):
        sizes = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"type": kind, **sizes, "dtype": str(space.dtype)}
    if isinstance(space, MultiBinary):
        return {"type": kind, "n": list(space.n) if isinstance(space.n, tuple) else int(space.n)}
    if isinstance(space, Dict):
        return {"type": kind, "spaces": [[key, described(part)] for key, part in space.spaces.items()]}
    if isinstance(space, Tuple):
        return {"type": kind, "spaces": [described(part) for part in space.spaces]}
    raise UserError(f"a policy for the space {space} cannot be saved: wrap the environment so that it is a Box")


def space_of(saved: Mapping[str, Any]) -> gymnasium.Space:
    """The space that `described` described, with keys of a Dict in their order. Raises ValueError for anything else."""
    try:
        return SPACES[saved["type"]](saved)
    except (KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{dict(saved)!r:.100} describes no space") from error


def numbers(bounds: np.ndarray) -> Any:
    """An array as nested lists, or as one number where all are equal; infinities as text, which JSON lacks."""
    flat = bounds.reshape(-1)
    if flat.size and (flat == flat[0]).all():
        return plain(flat[0].item())
    return listed(bounds.tolist())


def listed(values: Any) -> Any:
    return [listed(value) for value in values] if isinstance(values, list) else plain(values)


def plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not np.isfinite(value) else value


def array(saved: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What `numbers` wrote, as an array of this shape."""
    # "inf" among numbers would make an array of text: numpy reads that as numbers again.
    return np.broadcast_to(np.array(saved).astype(dtype), shape).copy()


def box(saved: Mapping[str, Any]) -> Box:
    shape, dtype = tuple(saved["shape"]), np.dtype(saved["dtype"])
    return Box(array(saved["low"], shape, dtype), array(saved["high"], shape, dtype), shape, dtype.type)


def multi_discrete(saved: Mapping[str, Any]) -> MultiDiscrete:
    return MultiDiscrete(saved["nvec"], dtype=np.dtype(saved["dtype"]).type, start=saved["start"])


SPACES: dict[str, Any] = {
    "Box": box,
    "Discrete": lambda saved: Discrete(saved["n"], start=saved["start"], dtype=np.dtype(saved["dtype"]).type),
    "MultiDiscrete": multi_discrete,
    "MultiBinary": lambda saved: MultiBinary(saved["n"]),
    "Dict": lambda saved: Dict(OrderedDict((key, space_of(part)) for key, part in saved["spaces"])),
    "Tuple": lambda saved: Tuple([space_of(part) for part in saved["spaces"]]),
}
