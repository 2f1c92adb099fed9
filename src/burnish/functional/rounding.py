"""Rounding to fewer bits without a bias."""

import math
import zlib

import torch
from jaxtyping import Float
from torch import Tensor


def round_stochastically(x: Float[Tensor, "*any"], dtype: torch.dtype, key: str) -> Float[Tensor, "*any"]:
    """x in a narrower dtype, up or down at random so that the mean is x.

    With l ≤ x ≤ u the two nearest numbers of the dtype:  P(u) = (x − l) / (u − l),  P(l) = (u − x) / (u − l)

    A number of the dtype stays as it is. The random numbers are a function of `key`.

    Why: weights that were read in bfloat16 lie on its grid. Rounded to the nearest, an update of less than half a step
    of the grid is lost, and most updates are that small; here the sum of many of them is kept. Zamirai et al. (2021),
    "Revisiting BFloat16 Training", section 3, for the updates of training itself.
    """
    near = x.to(dtype)
    error = x - near.to(x.dtype)
    toward = torch.full_like(near, math.inf).copysign(error.to(dtype))
    other = torch.nextafter(near, toward)
    share = error / (other.to(x.dtype) - near.to(x.dtype))
    random = torch.Generator(x.device).manual_seed(zlib.crc32(key.encode()))
    draws = torch.rand(x.shape, generator=random, device=x.device, dtype=x.dtype)
    return torch.where(draws < share, other, near)


def as_saved(
    x: Float[Tensor, "*any"], dtype: torch.dtype, files: torch.dtype | None, key: str
) -> Float[Tensor, "*any"]:
    """x in a dtype: `round_stochastically` where x came from `files` of that dtype and has more bits, else the nearest.

    Weights of other files do not lie on the dtype's grid, and rounding to the nearest changes each of them the least.
    """
    on_grid = dtype == files and dtype.itemsize < x.dtype.itemsize
    return round_stochastically(x, dtype, key) if on_grid else x.to(dtype)
