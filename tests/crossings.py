"""What numbers leave their device: on a CPU nothing does, so the calls are counted that would make them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

READS = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__")


@contextmanager
def crossings() -> Iterator[list[int]]:
    """For each time that tensors of fractions are read in the block, how many numbers they have.

    What is read within a read is not counted again: with a mode on, such as a default device, PyTorch comes back to the
    method that it was called by.
    """
    found: list[int] = []
    reading = [False]

    def counting(name: str) -> Any:
        original = getattr(torch.Tensor, name)

        def read(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if reading[0]:
                return original(tensor, *args, **kwargs)
            if tensor.is_floating_point():
                found.append(tensor.numel())
            reading[0] = True
            try:
                return original(tensor, *args, **kwargs)
            finally:
                reading[0] = False

        return read

    with patch.multiple(torch.Tensor, **{name: counting(name) for name in READS}):
        yield found
