"""Tensors of which each process of a run holds a shard, as FSDP2 divides the weights of a model."""

from typing import Any

from torch import Tensor, nn


def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor, in every process: all of them have to call this. A tensor that is not divided is returned."""
    if type(tensor) in (Tensor, nn.Parameter):  # before PyTorch's module for the others is imported
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, divided as `other` of the same shape is; the tensor itself where that is not divided.

    Every process has the whole tensor and keeps its shard, without communication.
    """
    if type(other) in (Tensor, nn.Parameter):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(tensor, DTensor) or not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    here = tensor.to(other.device)
    placements: Any = other.placements
    return distribute_tensor(here, other.device_mesh, placements, src_data_rank=None)
