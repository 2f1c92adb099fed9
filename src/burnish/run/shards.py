"""Tensors of which each process of a run holds a shard, as FSDP2 divides the weights of a model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn


def is_divided(tensor: Tensor) -> bool:
    """Whether each process holds a shard of the tensor."""
    if type(tensor) in (Tensor, nn.Parameter):  # before PyTorch's module for the others is imported
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor, in every process: all of them have to call this. A tensor that is not divided is returned.

    What is divided by its rows comes without a gradient, and not from `full_tensor`: for that, gloo notes that
    "ALLGATHER_COALESCED" has ended. Its two threads note such names without a lock, and free the memory of one of more
    than 15 letters twice.
    """
    if not is_divided(tensor):
        return tensor
    divided: Any = tensor.detach()
    if [placement.is_shard(0) for placement in divided.placements] != [True]:
        whole: Tensor = divided.full_tensor()
        return whole
    own, size, rows = divided.to_local(), divided.device_mesh.size(), len(divided)
    most = -(-rows // size)
    part = own.new_zeros(most, *own.shape[1:])
    part[: len(own)] = own
    parts = [torch.empty_like(part) for _ in range(size)]
    torch.distributed.all_gather(parts, part, group=divided.device_mesh.get_group())
    return torch.cat([one[: max(0, rows - place * most)] for place, one in enumerate(parts)])


def divided_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, divided as `other` of the same shape is; the tensor itself where that is not divided.

    Every process has the whole tensor and keeps its shard, without communication.
    """
    if not is_divided(other) or is_divided(tensor) or tensor.shape != other.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    model: Any = other
    return distribute_tensor(tensor.to(other.device), model.device_mesh, model.placements, src_data_rank=None)


def write(folder: Path, tensors: dict[str, Tensor], places: dict[str, int] | None = None) -> Path:
    """Write tensors with PyTorch's distributed checkpoints (DCP), each process its part of those that are divided; all
    of them have to call this. What several have is written once. Returns the folder of the parts.

    With `places`, the number from 1 of a file for each name, the main process copies the parts into plain safetensors
    files beside them. Raises in all processes what fails in one, such as an OSError where it cannot write.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save

    merged: dict[str, Any] = {} if places is None else {"fqn_to_index_mapping": places, "enable_consolidation": True}
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True, **merged)
    with failing():
        save(dict(tensors), storage_writer=writer)
    return Path(writer.path)


def begin(folder: Path, tensors: dict[str, Tensor], group: Any) -> Callable[[], None]:
    """`write` while the processes go on: the tensors are copied, and written by another thread of each process, which
    meet in a process group of their own. Returns what waits for the end, and raises what has failed."""
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, async_save

    writer, stager = HuggingFaceStorageWriter(str(folder), save_distributed=True), cast(Any, Copies())
    future: Any = async_save(dict(tensors), storage_writer=writer, process_group=group, async_stager=stager)

    def finish() -> None:
        with failing():
            future.result()

    return finish


class Copies:
    """PyTorch's `AsyncStager` of copies in the host's memory. Its own cannot copy a shard of no rows."""

    should_synchronize_after_execute = False

    def stage(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    def synchronize_staging(self) -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def failing() -> Iterator[None]:
    """Raise what has failed in one of the processes that write together."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except CheckpointException as error:  # no Exception
        failures = [failure for failure, _ in error.failures.values()]
        raise min(failures, key=lambda failure: not isinstance(failure, OSError)) from error
