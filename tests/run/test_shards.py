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


def test_plain_tensors_stay_as_they_are() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    assert gathered(VALUES) is VALUES
    assert gathered(parameter) is parameter
    assert divided_like(VALUES, parameter) is VALUES
