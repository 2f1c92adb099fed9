"""Attention of the newest token of each text, on a CPU.

PyTorch's fused kernel for CPUs computes each head of each text by itself. For one token, two batched products over all
heads of all texts are 1.3 to 2.5 times as fast.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from transformers import AttentionInterface

DECODING: ContextVar[bool] = ContextVar("decoding", default=False)
"""Whether this thread decodes texts a token at a time."""

FUSED = AttentionInterface()["sdpa"]


@contextmanager
def decoding() -> Iterator[None]:
    """Inside, and in this thread alone, transformers' sdpa is `attention` for one token of each text."""
    token = DECODING.set(True)
    try:
        yield
    finally:
        DECODING.reset(token)


def attention(
    query: Float[Tensor, "N H 1 D"],
    key: Float[Tensor, "N K T D"],
    value: Float[Tensor, "N K T E"],
    mask: Shaped[Tensor, "#N #H 1 T"] | None,
    scaling: float,
) -> Float[Tensor, "N 1 H E"]:
    """softmax(scaling · q Kᵀ) V over the columns where the mask is True; a mask of numbers is added before the softmax.

    H / K consecutive heads of the queries share the keys and values of one head.
    """
    rows, heads, _, width = query.shape
    shared = heads // key.shape[1]
    scores = torch.bmm((query * scaling).reshape(-1, shared, width), key.flatten(0, 1).transpose(1, 2))
    if mask is not None:
        added = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
        scores.view(rows, heads, 1, -1).add_(added)
    return torch.bmm(scores.softmax(-1), value.flatten(0, 1)).view(rows, 1, heads, -1)


def sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa; `attention` where one token of each text is decoded in float32 or float64 on a CPU."""
    plain = dropout == 0 and options.get("position_bias") is None and options.get("softcap") is None
    wide = query.device.type == "cpu" and query.dtype == key.dtype and query.dtype in (torch.float32, torch.float64)
    if DECODING.get() and query.shape[2] == 1 and plain and wide:
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attention(query, key, value, attention_mask, scaling), None
    return FUSED(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options)


AttentionInterface.register("sdpa", sdpa)
