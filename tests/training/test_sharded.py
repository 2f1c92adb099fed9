"""Tensors that processes write together: read by any number of them, complete or absent, damage named."""

import os
import pickle
import shutil
import signal
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import ranks
import torch
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageWriter

from burnish.run import UserError
from burnish.run.shards import Copies, gathered
from burnish.run.world import World, joined
from burnish.training import checkpoint, sharded

VALUES = {
    "wide": torch.arange(15, dtype=torch.float64).view(5, 3) / 7,
    "one row": torch.arange(4, dtype=torch.float32).view(1, 4) + 0.5,  # all processes but one hold nothing of it
    "half": torch.tensor([1.5, -2.5, 3.5], dtype=torch.bfloat16),
}
EVERYWHERE = {"step": torch.tensor(7.0), "held by all": torch.tensor([float("inf"), -0.0])}
STATE = {"step": 2, "seen": [1, 2]}


def divided(values: dict[str, Tensor], world: World) -> dict[str, Tensor]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (world.size,))
    return {name: distribute_tensor(value.clone(), mesh, [Shard(0)]) for name, value in values.items()}


def write(folder: str) -> None:
    """Two checkpoints: in the first each process has a tensor of its own too."""
    world = joined()
    tensors = divided(VALUES, world) | EVERYWHERE
    own = {f"of process {world.rank}": torch.tensor([world.rank])}
    for step, more in ((1, own), (2, {})):
        checkpoint.save_together(Path(folder), step, tensors | more, STATE | {"step": step}, 2, world)


def read(folder: str) -> dict[str, Any]:
    """What one of other processes reads: its shards of what is divided."""
    world = joined()
    target = divided({name: torch.full_like(value, 9) for name, value in VALUES.items()}, world)
    found = checkpoint.newest(Path(folder), pytest.fail)
    assert found is not None
    assert found.shards is not None
    place = lambda name, size, dtype: target.get(name, torch.empty(size, dtype=dtype))  # noqa: E731
    tensors = sharded.read(found.shards, place)
    held = sum(one.to_local().numel() for one in target.values())  # type: ignore[attr-defined]
    return {name: gathered(tensor) for name, tensor in tensors.items()} | {"held": held}


def killed(folder: str) -> str:
    """The second process is killed while it writes."""
    world = joined()
    if world.rank == 1:
        sharded.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    try:
        checkpoint.save_together(Path(folder), 3, divided(VALUES, world), STATE, 2, world)
    except (RuntimeError, UserError) as error:
        return str(error)
    return "saved"


def write_meanwhile(folder: str) -> list[bool]:
    """Two checkpoints, written while the tensors change; whether each was still being written when they had."""
    world, slow = joined(), []
    write_data = HuggingFaceStorageWriter.write_data

    def late(self: Any, *given: Any) -> Any:
        changed.wait(60)
        return write_data(self, *given)

    HuggingFaceStorageWriter.write_data = late  # type: ignore[method-assign]
    for step in (1, 2):
        tensors, changed = divided(VALUES, world) | {name: one.clone() for name, one in EVERYWHERE.items()}, Event()
        saving = checkpoint.Saving(Path(folder), step, tensors, STATE | {"step": step}, 2, world)
        for tensor in tensors.values():
            tensor.fill_(9)
        slow.append(not saving.done.done() and not Path(folder, f"step-{step:06d}").exists())
        changed.set()
        saving.wait()
    return slow


def killed_meanwhile(folder: str, rank: int, place: str) -> str:
    """One process is killed while both write a third checkpoint and go on."""
    world = joined()
    if world.rank == rank:
        holder: Any = {"write_data": HuggingFaceStorageWriter, "stage": Copies}.get(place, checkpoint)
        setattr(holder, place, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    try:
        saving = checkpoint.Saving(Path(folder), 3, divided(VALUES, world), STATE | {"step": 3}, 2, world)
        saving.wait()
    except (RuntimeError, UserError) as error:
        return str(error)
    return "saved"


def unwritable(path: str) -> None:
    """A file is where the folder should be."""
    joined()
    sharded.write(Path(path), EVERYWHERE)


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return all(torch.equal(found[name], one) and found[name].dtype == one.dtype for name, one in expected.items())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    assert ranks.together(3, folder / "ends", write, str(folder / "run")) == [None] * 3
    return folder / "run"


def test_one_process_reads_what_three_have_written(saved: Path) -> None:
    first, second = (checkpoint.newest(saved, pytest.fail, before=step) for step in (2, 3))
    assert first is not None
    assert second is not None
    assert (first.state, second.state) == (STATE | {"step": 1}, STATE)
    assert same(second.whole(), VALUES | EVERYWHERE)
    own = {f"of process {rank}": torch.tensor([rank]) for rank in range(3)}
    assert first.whole().keys() == VALUES.keys() | EVERYWHERE.keys() | own.keys()
    assert same(first.whole(), own)


def test_each_process_writes_its_part(saved: Path) -> None:
    files = sorted(path.name for path in (saved / "step-000002/shards").iterdir())
    assert [name.split("-")[1] for name in files] == ["00001", "00002", "00003"]
    assert all(name.endswith(".safetensors") for name in files)


def test_other_processes_read_their_shards(saved: Path, tmp_path: Path) -> None:
    ended = ranks.together(2, tmp_path / "ends", read, str(saved))
    assert sum(one.pop("held") for one in ended) == sum(value.numel() for value in VALUES.values())
    for found in ended:
        assert found.keys() == VALUES.keys() | EVERYWHERE.keys()
        assert same(found, VALUES | EVERYWHERE)


@pytest.mark.parametrize("damage", ["bit", "cut", "missing", "more"])
def test_damage_is_named_and_the_one_before_taken(saved: Path, tmp_path: Path, damage: str) -> None:
    run, said = tmp_path / "run", []
    shutil.copytree(saved, run)
    path = sorted((run / "step-000002/shards").iterdir())[1]
    content = path.read_bytes()
    if damage == "bit":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "missing":
        path.unlink()
    else:
        path.with_name("shard-00009-model-00001-of-00001.safetensors").write_bytes(content)
    found = checkpoint.newest(run, said.append)
    assert found is not None
    assert found.step == 1
    wanted = {
        "bit": f"the checksum of shards/{path.name} differs",
        "cut": f"shards/{path.name} has {len(content) - 1} bytes in place of {len(content)}",
        "missing": f"{path.name} is missing",
        "more": "shards/shard-00009-model-00001-of-00001.safetensors is not in manifest.json",
    }[damage]
    assert said == [f"a checkpoint in {run} is broken (step-000002: {wanted}): going on from step-000001"]


def test_a_process_that_is_killed_leaves_the_checkpoints_before(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    with pytest.raises(FileNotFoundError):  # the killed one's answer
        ranks.together(2, tmp_path / "ends", killed, str(run))
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) == [
        "step-000001",
        "step-000002",
    ]
    found = checkpoint.latest(run, pytest.fail)
    assert found is not None
    assert found.step == 2
    assert sorted(path.name for path in run.iterdir()) == ["step-000001", "step-000002"]


def test_a_checkpoint_is_written_while_the_processes_go_on(tmp_path: Path) -> None:
    """It has what the tensors were when it began."""
    assert ranks.together(2, tmp_path / "ends", write_meanwhile, str(tmp_path / "run")) == [[True, True]] * 2
    for step in (1, 2):
        found = checkpoint.newest(tmp_path / "run", pytest.fail, before=step + 1)
        assert found is not None
        assert found.state == STATE | {"step": step}
        assert same(found.whole(), VALUES | EVERYWHERE)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["step-000001", "step-000002"]


@pytest.mark.parametrize(
    ("rank", "place", "step"),
    [(1, "stage", 2), (0, "write_data", 2), (1, "write_data", 2), (0, "_conclude", 2), (0, "_keep", 3)],
)
def test_a_kill_while_processes_go_on_leaves_whole_checkpoints(
    saved: Path, tmp_path: Path, rank: int, place: str, step: int
) -> None:
    """The one before where it is not finished, and itself where it has its name."""
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    with pytest.raises(FileNotFoundError):  # the killed one's answer
        ranks.together(2, tmp_path / "ends", killed_meanwhile, str(run), rank, place)
    (said,) = (pickle.loads(path.read_bytes()) for path in (tmp_path / "ends").iterdir())
    assert str(said).startswith(f"process {rank} of 2 has ended")
    found = checkpoint.latest(run, pytest.fail)
    assert found is not None
    assert found.step == step
    assert same(found.whole(), VALUES)
    assert sorted(path.name for path in run.iterdir()) == [f"step-{one:06d}" for one in range(1, step + 1)]


def test_what_fails_in_one_process_is_raised_in_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = ranks.together(2, tmp_path / "ends", unwritable, str(tmp_path / "file"))
    assert all(isinstance(one, OSError) for one in ended)
