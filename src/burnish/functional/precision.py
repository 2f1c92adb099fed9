"""What every function of this folder shares: the type of a hyperparameter, and the precision to compute in."""

from typing import TypeAlias

import torch
from jaxtyping import Float, Num
from torch import Tensor

Number: TypeAlias = float | int
# A hyperparameter is one number for all, or a tensor that broadcasts (one beta per run, one margin per pair).
Scalar: TypeAlias = Number | Float[Tensor, "*#shape"]
# The same beside arguments whose shapes go by other names, where only broadcasting itself can check it.
AnyScalar: TypeAlias = Number | Float[Tensor, "..."]
# A denominator is a count as often as it is a real number.
Count: TypeAlias = Number | Num[Tensor, "..."]


def widen(x: Num[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """x in float32, or in its own type where that is wider.

    A bfloat16 number has 8 significant bits: a sum or a difference of log-probabilities has none left to spare.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
