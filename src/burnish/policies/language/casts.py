"""Casts of weights to bfloat16: autocast makes one per use of a weight, unless it may keep them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

STEADY: ContextVar[bool] = ContextVar("steady", default=False)
"""Whether no weight changes in this thread until the context ends."""


@contextmanager
def keeping_casts(device: torch.device) -> Iterator[None]:
    """Inside, and in this thread alone, no weight changes, and each is cast once for all passes of a model."""
    token = STEADY.set(True)
    try:
        with torch.autocast(device.type, enabled=False):  # PyTorch keeps casts until the outermost context ends
            yield
    finally:
        STEADY.reset(token)
