"""What several processes have together, in real processes."""

import pickle
import socket
from pathlib import Path
from typing import Any

import jobs
import pytest
import ranks
import torch

from burnish.batches import Demonstrations
from burnish.run import UserError
from burnish.run.world import ALONE, CONNECTION, LostError, World, joined, several


def texts(rows: int) -> Demonstrations:
    ones = torch.ones(rows, 2)
    return Demonstrations(ones.long(), ones.bool(), ones.long().sum(1), torch.arange(rows))


def meet(folder: str) -> dict[str, Any]:
    """One process's part of the test below."""
    world, found = joined(), {}
    found["rank"] = world.rank, world.size, world.is_main
    found["gather"] = world.gather([world.rank])
    found["sum"] = world.sum({"all": torch.tensor(world.rank), f"only {world.rank}": 7} if world.rank else {})
    found["each"] = list(world.each(lambda item: (item, item % 3 == world.rank), range(5)))
    few = world.by_rows(lambda part: part.rows * 10 + len(part), texts(2))
    found["by rows"] = few.tolist(), world.by_rows(lambda part: part.tokens, texts(4)).shape
    found["waited"] = world.waited[0] > 0
    found["any"] = world.any(world.rank == 2), world.any(False)
    found["main"] = world.from_main(lambda: f"from {world.rank}")
    with world.main_first():
        found["earlier"] = sorted(path.name for path in Path(folder).glob("*.done"))
        Path(folder, f"{world.rank}.done").touch()
    none, some, all_, wide = (
        torch.nn.Parameter(torch.zeros(2, dtype=kind)) for kind in [torch.float32] * 3 + [torch.float64]
    )
    all_.grad, wide.grad = (
        torch.full((2,), world.rank + 1.0),
        torch.full((2,), 10.0**-12 * world.rank, dtype=wide.dtype),
    )
    if world.rank == 1:
        some.grad = torch.tensor([5.0, -1.0])
    world.sum_gradients([none, some, all_, wide])
    found["gradients"] = [None if one.grad is None else one.grad.tolist() for one in (none, some, all_, wide)]
    world.check_same({"data": 1})
    try:
        world.check_same({"seed": 3 if world.rank < 2 else 4})
    except UserError as error:
        found["differ"] = str(error)
    world.barrier()
    found["first"] = world.fails_first()
    if world.rank == 1:
        return found
    try:  # with one that has ended
        world.barrier()
    except LostError as error:
        found["lost"] = str(error)
    return found


def test_three_processes(tmp_path: Path) -> None:
    """Gradients: none of a parameter that has none anywhere; 0 + (5, −1) + 0; 1 + 2 + 3; (0 + 1 + 2)·10⁻¹²."""
    found = ranks.together(3, tmp_path, meet, str(tmp_path))
    assert [one.pop("rank") for one in found] == [(0, 3, True), (1, 3, False), (2, 3, False)]
    assert found[0].pop("earlier") == []
    assert all("0.done" in one.pop("earlier") for one in found[1:])
    assert sorted(one.pop("first") for one in found) == [False, False, True]
    assert found[0]["lost"] == "process 1 of 3 has ended: the others end too; continue with --resume"
    assert found[2].pop("lost") == found[0].pop("lost")
    assert found[0] == found[1] == found[2]
    assert found[0]["gather"] == [[0], [1], [2]]
    assert found[0]["sum"] == {"all": 3, "only 1": 7, "only 2": 7}
    assert found[0]["each"] == [(0, True), (1, True), (2, True), (3, True), (4, True)]
    assert found[0]["by rows"] == ([1, 11], (4, 2))
    assert found[0]["waited"]
    assert found[0]["any"] == (True, False)
    assert found[0]["main"] == "from 0"
    assert found[0]["gradients"] == [None, [5.0, -1.0], [6.0, 6.0], [pytest.approx(3e-12, rel=1e-12)] * 2]
    assert found[0]["differ"].startswith(
        "the processes of the run differ in seed (process 0 has 3, process 2 has 4): start"
    )


def meet_and_fail() -> tuple[list[int], bool]:
    world = joined()
    return world.gather(world.rank), world.fails_first()


def test_processes_that_torchrun_starts_again_meet_anew(tmp_path: Path) -> None:
    """Its store still has the addresses of those before, and that one of them has failed."""
    environments = ranks.variables(2)
    for attempt in range(2):
        processes, paths = [], [tmp_path / f"{attempt}-{rank}.pickle" for rank in range(2)]
        for environment, path in zip(environments, paths, strict=True):
            more = environment | {"TORCHELASTIC_RESTART_COUNT": str(attempt)}
            process = jobs.process(ranks.called, more, str(path), meet_and_fail, ())
            process.start()
            processes.append(process)
        for process in processes:
            jobs.finish(process)
        found = [pickle.loads(path.read_bytes()) for path in paths]
        assert [met for met, _ in found] == [[0, 1], [0, 1]]
        assert sorted(first for _, first in found) == [False, True]


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    """Without torchrun, whose own port is free, the first process opens the one that MASTER_PORT says."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        alone = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        path = tmp_path / "0.pickle"
        process = jobs.process(ranks.called, alone, str(path), joined, ())
        process.start()
        jobs.finish(process)
    error = pickle.loads(path.read_bytes())
    assert isinstance(error, UserError)
    assert str(error) == f"the processes cannot meet, because 127.0.0.1:{port} is in use: set another MASTER_PORT"


def test_a_lost_connection_is_told_from_other_errors() -> None:
    with pytest.raises(LostError, match="another process of the run has ended"), ALONE.losing(CONNECTION):
        raise RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), ALONE.losing(CONNECTION):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(("rows", "shares"), [(6, [2, 2, 2]), (7, [2, 2, 3]), (2, [0, 1, 1]), (1, [0, 0, 1])])
def test_the_shares_of_a_batch_are_its_rows_in_order(rows: int, shares: list[int]) -> None:
    parts = [World(rank, 3).share(texts(rows)) for rank in range(3)]
    assert [len(part) for part in parts] == shares
    assert torch.cat([part.rows for part in parts]).tolist() == list(range(rows))


def test_processes_that_compute_together_all_have_a_row() -> None:
    """Of two rows the first of three processes has none: the first row, which does not count. Of no rows nobody has."""
    for rows, expected in ((2, [([0], False), ([0], True), ([1], True)]), (0, [([], True)] * 3)):
        parts = [World(rank, 3).own_rows(texts(rows), together=True) for rank in range(3)]
        assert [(part.rows.tolist(), counts) for part, counts in parts] == expected
    own, counts = World(0, 3).own_rows(texts(2), together=False)
    assert (len(own), counts) == (0, True)


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert not several()
    assert joined() is ALONE
    batch = texts(2)
    assert ALONE.share(batch) is batch
    assert ALONE.sum({"a": 2}) == {"a": 2}
    assert ALONE.fails_first()
    monkeypatch.setenv("WORLD_SIZE", "2")  # without a rank, as in a shell that Slurm opened
    assert not several()
    monkeypatch.setenv("RANK", "1")
    assert several()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not several()
