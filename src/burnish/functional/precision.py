"""Shared by all functions of this folder: the type of hyperparameters and the precision of computation."""

from typing import TypeAlias

import torch
from jaxtyping import Float, Num
from torch import Tensor

Number: TypeAlias = float | int
# A hyperparameter: one number, or a tensor that broadcasts (one beta per run, one margin per pair).
Scalar: TypeAlias = Number | Float[Tensor, "*#shape"]
# The same where the arguments' dimensions have other names, so that only broadcasting itself can check the shape.
AnyScalar: TypeAlias = Number | Float[Tensor, "..."]
# A denominator may be an integer or a float.
Count: TypeAlias = Number | Num[Tensor, "..."]


def widen(x: Num[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """x in float32, or in its own dtype if that is wider.

    bfloat16 has 8 significant bits, too few for sums and differences of log-probabilities.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
