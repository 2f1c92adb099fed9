"""Tensors of which each process holds a shard, and those that are not divided."""

from pathlib import Path
from typing import Any

import ranks
import torch

from burnish.run.shards import divided_like, gathered
from burnish.run.world import joined

VALUES = torch.arange(15.0).view(5, 3)


def divide() -> dict[str, Any]:
    """One process's part of the test below."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    world = joined()
    other = distribute_tensor(torch.zeros(5, 3), init_device_mesh("cpu", (world.size,)), [Shard(0)])
    found = divided_like(VALUES, other)
    again, odd = divided_like(found, other), divided_like(torch.tensor(7.0), other)
    return {
        "own": found.to_local(),  # type: ignore[attr-defined]
        "again": again is found,
        "odd": odd.item(),
        "whole": gathered(found),
        "parameter": gathered(torch.nn.Parameter(found)).detach(),
    }


def test_a_tensor_is_divided_like_another_and_gathered_again(tmp_path: Path) -> None:
    ended = ranks.together(2, tmp_path, divide)
    assert torch.equal(torch.cat([one["own"] for one in ended]), VALUES)
    assert [len(one["own"]) for one in ended] == [3, 2]
    for one in ended:
        assert torch.equal(one["whole"], VALUES)
        assert torch.equal(one["parameter"], VALUES)
        assert (one["again"], one["odd"]) == (True, 7.0)


ROWS = [(5, 3), (1, 2), (4,), (6, 2, 2)]
"""Three processes: shares of two rows and of one, none for two of them, and none for the last of four."""


def gather() -> list[tuple[torch.Tensor, list[str]]]:
    """Tensors of these shapes, and the collectives that gathered them."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.distributed.tensor.debug import CommDebugMode

    mesh, found = init_device_mesh("cpu", (joined().size,)), []
    for shape in ROWS:
        values = torch.arange(float(torch.Size(shape).numel())).view(shape)
        divided = distribute_tensor(values, mesh, [Shard(0)], src_data_rank=None)
        with CommDebugMode() as counted:
            whole = gathered(divided)
        found.append((whole, [str(one) for one in counted.get_comm_counts()]))
    return found


def test_what_gathers_has_a_short_name(tmp_path: Path) -> None:
    """gloo's two threads free the memory of a name of more than 15 letters twice: see `gathered`."""
    for found in ranks.together(3, tmp_path, gather):
        for shape, (whole, collectives) in zip(ROWS, found, strict=True):
            assert torch.equal(whole, torch.arange(float(whole.numel())).view(shape))
            assert whole.is_contiguous()
            assert not [one for one in collectives if "coalesced" in one or "into_tensor" in one]


def test_plain_tensors_stay_as_they_are() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    assert gathered(VALUES) is VALUES
    assert gathered(parameter) is parameter
    assert divided_like(VALUES, parameter) is VALUES
