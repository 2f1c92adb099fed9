"""Tensors that several processes write and read together, each its own shards: PyTorch's distributed checkpoints (DCP).

They are kept as safetensors files, one for each process, which say where in the whole tensor a shard belongs. DCP's own
format has an index that is pickled; this one has none, and nothing is unpickled. Any number of processes can read what
any other number has written.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.run.shards import begin, write

__all__ = ["begin", "names", "read", "read_whole", "write"]

Place = Callable[[str, torch.Size, torch.dtype], Tensor | None]
"""The tensor, of which the process may have a shard, to read a name into, or None to leave it out."""


def read(folder: Path, place: Place) -> dict[str, Tensor]:
    """Read tensors into what `place` gives for each; a process reads its shards, and needs no other for it."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    reader = HuggingFaceStorageReader(str(folder))
    found: dict[str, Tensor] = {}
    known: dict[str, Any] = reader.read_metadata().state_dict_metadata
    for name, one in known.items():
        target = place(name, one.size, one.properties.dtype)
        if target is not None:
            found[name] = target
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # which is what is wanted
        load(found, storage_reader=reader, no_dist=True)
    return found


def names(folder: Path) -> set[str]:
    """The names of the tensors in a folder."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    return set(HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata)


def read_whole(folder: Path) -> dict[str, Tensor]:
    """All tensors, whole, in the process that calls this."""
    return read(folder, lambda name, size, dtype: torch.empty(size, dtype=dtype))
