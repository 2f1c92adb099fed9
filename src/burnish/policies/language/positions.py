"""Rotary positions that depend on a row's length.

Two kinds of scaling change the frequencies of *all* positions of a row once it is long: LongRoPE (Ding et al. 2024,
"LongRoPE: Extending LLM Context Window Beyond 2 Million Tokens"; Phi-3, Phi-4-mini) has one set of factors for rows up
to the original context and another for longer rows; dynamic NTK scaling has one for each length beyond it.
transformers takes the length from the longest row of a batch, so rows of different kinds must not be read together.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedConfig


@dataclass(frozen=True)
class LengthScaling:
    """The rotary positions of rows up to `original` tokens are the same; so are those of longer rows, unless each
    length has its own (`dynamic`)."""

    original: int
    dynamic: bool

    def kinds(self, lengths: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """A number for each length: rows with the same number have the same rotary positions."""
        return torch.where(lengths <= self.original, 0, lengths if self.dynamic else 1)

    def longest(self, prompt: int) -> int | None:
        """The longest row that a prompt of this length can grow to before the positions of its tokens change; None
        where they never do."""
        return None if prompt > self.original and not self.dynamic else max(prompt, self.original)


def length_scaling(config: PreTrainedConfig) -> LengthScaling | None:
    """How rotary positions depend on a row's length; None where they do not."""
    config = config.get_text_config()
    ropes: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    context: int = getattr(config, "max_position_embeddings", 0)
    found = set()
    for rope in (ropes, *(value for value in ropes.values() if isinstance(value, dict))):  # one set, or one per layer
        kind = str(rope.get("rope_type"))
        if kind == "longrope":
            found.add(LengthScaling(rope.get("original_max_position_embeddings") or context, False))
        elif "dynamic" in kind:
            found.add(LengthScaling(context, True))
    if len(found) < 2:
        return next(iter(found), None)
    return LengthScaling(min(one.original for one in found), True)  # every length apart is right for all of them
