"""Attention on a CPU, where two plain products are faster than PyTorch's fused kernel.

The kernel computes each head of each text by itself. For the newest token of each text, two batched products over all
heads of all texts are 1.3 to 2.5 times as fast in float32, and 10 times in bfloat16. In bfloat16 so is training on
short rows, because the kernel's backward pass is slow.
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

SHORT = 5
"""The columns per unit of a head's width up to which plain products are faster in bfloat16, forward and backward
together."""

KNOWN = (torch.float32, torch.float64, torch.bfloat16)

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
    query: Float[Tensor, "N H q D"],
    key: Float[Tensor, "N K T D"],
    value: Float[Tensor, "N K T E"],
    mask: Shaped[Tensor, "#N #H q T"] | None,
    scaling: float,
    dropout: float = 0.0,
) -> Float[Tensor, "N q H E"]:
    """softmax(scaling · q Kᵀ) V over the columns where the mask is True; a mask of numbers is added before the softmax.

    H / K consecutive heads of the queries share the keys and values of one head. The softmax is in float32 or wider.
    """
    rows, heads, count, width = query.shape
    shared, wide = heads // key.shape[1] * count, torch.promote_types(query.dtype, torch.float32)
    scores = torch.bmm((query * scaling).reshape(-1, shared, width), key.flatten(0, 1).transpose(1, 2))
    if mask is not None and mask.dtype == torch.bool:  # finite, because a token of padding sees no column at all
        scores.view(rows, heads, count, -1).masked_fill_(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores.view(rows, heads, count, -1).add_(mask)
    # softmax computes bfloat16 in float32 and rounds once; only the gradient needs the wide numbers themselves
    weights = scores.softmax(-1, dtype=wide).to(query.dtype) if scores.requires_grad else scores.softmax(-1)
    weights = nn.functional.dropout(weights, dropout)
    return torch.bmm(weights, value.flatten(0, 1)).view(rows, heads, count, -1).transpose(1, 2)


def sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa; on a CPU `attention` where one token of each text is decoded, and for short rows in
    bfloat16."""
    if torch.is_autocast_enabled(query.device.type):  # as PyTorch does itself; rotary positions are in float32
        query, key, value = (_rounded(one) for one in (query, key, value))
    count, columns = query.shape[2], key.shape[2]
    plain = options.get("position_bias") is None and options.get("softcap") is None
    here = query.device.type == "cpu" and query.dtype == key.dtype == value.dtype and query.dtype in KNOWN
    one = DECODING.get() and count == 1 and dropout == 0
    short = query.dtype == torch.bfloat16 and columns <= SHORT * query.shape[-1]
    if plain and here and (one or short):
        if (
            attention_mask is None
            and count > 1
            and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
        ):
            key, value = key[:, :, :count], value[:, :, :count]  # columns behind are not written yet
            attention_mask = torch.ones(count, key.shape[2], dtype=torch.bool).tril()[None, None]
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attention(query, key, value, attention_mask, scaling, dropout), None
    given = (module, query, key, value, attention_mask)
    return FUSED(*given, dropout=dropout, scaling=scaling, is_causal=is_causal, **options)


def _rounded(one: Tensor) -> Tensor:
    """A float32 tensor in the dtype of autocast; any other as it is."""
    return one.to(torch.get_autocast_dtype(one.device.type)) if one.dtype == torch.float32 else one
