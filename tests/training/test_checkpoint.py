"""A checkpoint comes back bit for bit or is named as broken; a kill or a full disk costs at most the one under way."""

import json
import math
import os
import random
import resource
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from faults import every_fault
from torch import Tensor

from burnish.run import UserError
from burnish.training.checkpoint import Checkpoint, latest, newest, remove_after, save

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


def refuse(sentence: str) -> None:
    raise AssertionError(f"warned for no reason: {sentence}")


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy(force=True).tobytes() == b.numpy(force=True).tobytes()


def two(folder: Path) -> Path:
    """Checkpoints of steps 1 and 2, whose only tensor holds the step."""
    for step in (1, 2):
        save(folder, step, {"x": torch.full((5,), float(step))}, {"position": step})
    return folder / "step-000002"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (2, 3, 5)])
def test_tensors_of_every_kind_come_back(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100
    tensor = values.to(dtype)
    save(tmp_path, 3, {"model/weight": tensor}, {})
    found = latest(tmp_path, refuse)
    assert found is not None
    assert list(found.tensors) == ["model/weight"]
    back = found.tensors["model/weight"]
    assert back.dtype == dtype
    assert torch.equal(back, tensor)
    assert back.shape == tensor.shape


def test_odd_bits_come_back(tmp_path: Path) -> None:
    """Signed zeros, subnormals, infinities and NaNs with a payload, which equality of values would not see."""
    wide = torch.tensor([0, -(2**31), 1, 0x7F800000, 0x7FC00001, -1, 0x3DCCCCCD], dtype=torch.int32)
    narrow = torch.tensor([0, -(2**15), 1, 0x7F80, 0x7FC1, -1, 0x3DCC], dtype=torch.int16)
    save(tmp_path, 0, {"wide": wide.view(torch.float32), "narrow": narrow.view(torch.bfloat16)}, {})
    found = latest(tmp_path, refuse)
    assert found is not None
    assert torch.equal(found.tensors["wide"].view(torch.int32), wide)
    assert torch.equal(found.tensors["narrow"].view(torch.int16), narrow)


def test_tensors_that_share_memory_come_back(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "tied": base,
        "same": base,
        "slice": base[1],
        "column": base[:, 1],
        "turned": base.T,
        "spread": torch.tensor(5.0).expand(4),
        "parameter": torch.nn.Parameter(base),
        "empty": base[:0],
        "also empty": base[:0],
        "part": torch.arange(100)[90:],
    }
    save(tmp_path, 1, tensors, {})
    found = latest(tmp_path, refuse)
    assert found is not None
    assert set(found.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(found.tensors[name], tensor)
        assert not found.tensors[name].requires_grad
    found.tensors["tied"].zero_()
    assert torch.equal(found.tensors["same"], base)
    size = (found.path / "tensors.safetensors").stat().st_size
    assert size < 2000  # Slices are written as slices, not with all that lies around them.


def test_what_was_loaded_outlives_its_file(tmp_path: Path) -> None:
    ones = torch.ones(100_000)
    file = save(tmp_path, 1, {"x": ones}, {}) / "tensors.safetensors"
    found = latest(tmp_path, refuse)
    assert found is not None
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.write(bytes(size))
    assert torch.equal(found.tensors["x"], ones)


def test_an_optimizer_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Three steps, a checkpoint and three more equal six; AdamW's step count is a 0-d tensor."""

    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    def train(model: torch.nn.Linear, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            model(torch.full((1, 4), float(step))).square().sum().backward()
            optimizer.step()

    straight, optimizer = fresh()
    train(straight, optimizer, range(6))

    model, optimizer = fresh()
    train(model, optimizer, range(3))
    slots = {f"{i}/{k}": v for i, slot in optimizer.state_dict()["state"].items() for k, v in slot.items()}
    save(tmp_path, 3, {**{f"model/{k}": v for k, v in model.state_dict().items()}, **slots}, {})

    model, optimizer = fresh()
    found = latest(tmp_path, refuse)
    assert found is not None
    assert found.tensors["0/step"].shape == ()
    state = {i: {k: found.tensors[f"{i}/{k}"] for k in ("step", "exp_avg", "exp_avg_sq")} for i in (0, 1)}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    model.load_state_dict({k: found.tensors[f"model/{k}"] for k in ("weight", "bias")})
    train(model, optimizer, range(3, 6))
    assert same_bits(model.weight, straight.weight)
    assert same_bits(model.bias, straight.bias)


def test_states_come_back(tmp_path: Path) -> None:
    state = {
        "offsets": {"metrics": 10**12},
        "best_loss": math.inf,
        "others": [-math.inf, 0.1 + 0.2, -0.0, None, True, 10**40],
        "text": "é\n\ud83d",
        "empty": [{}, [], ""],
    }
    save(tmp_path, 1, {}, state)
    found = latest(tmp_path, refuse)
    assert found is not None
    assert repr(found.state) == repr(state)
    text = (found.path / "state.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["best_loss"] == {"$float": "inf"}


def test_not_a_number_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 1, {}, {"a": math.nan})
    found = latest(tmp_path, refuse)
    assert found is not None
    assert math.isnan(found.state["a"])


@pytest.mark.parametrize("value", [{1: 2}, (1, 2), {"a": (1,)}, {"$float": "inf"}])
def test_a_state_that_would_come_back_otherwise_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="must be what JSON gives back"):
        save(tmp_path / "new", 1, {}, {"a": value})
    with pytest.raises(TypeError):
        save(tmp_path / "new", 1, {}, {"a": torch.tensor(1)})
    assert names(tmp_path) == []


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for side, order in (("a", ("x", "y")), ("b", ("y", "x"))):
        save(tmp_path / side, 1, {name: torch.full((3,), float(ord(name))) for name in order}, {"s": 1})
    for name in ("tensors.safetensors", "state.json", "manifest.json"):
        files = [(tmp_path / side / "step-000001" / name).read_bytes() for side in ("a", "b")]
        assert files[0] == files[1]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 999_999, 1_000_000):
        path = save(tmp_path, step, {}, {})
        assert path.is_dir()
    assert names(tmp_path) == ["step-1000000", "step-999999"]
    save(tmp_path, 1_000_001, {}, {}, keep=3)
    assert len(names(tmp_path)) == 3
    save(tmp_path, 1_000_002, {}, {}, keep=1)
    assert names(tmp_path) == ["step-1000002"]
    with pytest.raises(ValueError, match="keep must be at least 1"):
        save(tmp_path, 1, {}, {}, keep=0)


def test_a_step_saved_again_takes_the_place(tmp_path: Path) -> None:
    for value in (1, 2):
        save(tmp_path, 7, {}, {"value": value})
    found = latest(tmp_path, refuse)
    assert found is not None
    assert found.state == {"value": 2}
    assert names(tmp_path) == ["step-000007"]


def test_later_checkpoints_that_were_not_resumed_from_go(tmp_path: Path) -> None:
    """Step 20 is broken, so the run goes on from 10 and saves 15: 20 must not push 15 out, nor be found again."""
    save(tmp_path, 10, {}, {})
    (save(tmp_path, 20, {}, {}) / "state.json").unlink()
    save(tmp_path, 15, {}, {}, keep=1)
    assert names(tmp_path) == ["step-000015"]


def test_an_earlier_one_can_be_asked_for_and_later_ones_removed(tmp_path: Path) -> None:
    two(tmp_path)
    for before, step in ((3, 2), (2, 1)):
        found = latest(tmp_path, refuse, before)
        assert found is not None
        assert found.step == step
    assert latest(tmp_path, refuse, 1) is None
    remove_after(tmp_path, 2)
    assert names(tmp_path) == ["step-000001", "step-000002"]
    remove_after(tmp_path, 1)
    assert names(tmp_path) == ["step-000001"]
    remove_after(tmp_path / "nowhere", 1)


def test_another_process_may_read_without_touching_what_is_being_written(tmp_path: Path) -> None:
    two(tmp_path)
    (tmp_path / ".burnish-new-step-000003").mkdir()
    found = newest(tmp_path, refuse)
    assert found is not None
    assert found.step == 2
    assert ".burnish-new-step-000003" in names(tmp_path)
    latest(tmp_path, refuse)
    assert ".burnish-new-step-000003" not in names(tmp_path)


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert latest(tmp_path / "absent", refuse) is None
    assert latest(tmp_path, refuse) is None
    for name in ("step-1", "step-000001x", "other", ".burnish-new-step-000009"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000002").touch()
    (tmp_path / "best.safetensors").touch()
    assert latest(tmp_path, refuse) is None
    assert "best.safetensors" in names(tmp_path)
    assert ".burnish-new-step-000009" not in names(tmp_path)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_every_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    path = two(tmp_path) / name
    good = path.read_bytes()
    said: list[str] = []
    for bit in range(0, len(good) * 8, 3 if name == "manifest.json" else 7):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = latest(tmp_path, said.append)
        assert found is not None
        assert (found.step, found.state) == (1, {"position": 1}), f"bit {bit} went unnoticed"
        assert torch.equal(found.tensors["x"], torch.ones(5))
    assert all("step-000002" in sentence and "going on from step-000001" in sentence for sentence in said)
    assert any(name in sentence for sentence in said)
    path.write_bytes(good)
    found = latest(tmp_path, refuse)
    assert found is not None
    assert found.step == 2


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_truncated_or_missing_file_is_noticed_and_named(tmp_path: Path, name: str) -> None:
    path = two(tmp_path) / name
    size = path.stat().st_size
    for length in (size - 1, size // 2, 0):
        os.truncate(path, length)
        said: list[str] = []
        found = latest(tmp_path, said.append)
        assert found is not None
        assert found.step == 1
        assert len(said) == 1
        assert name in said[0]
    path.unlink()
    said = []
    found = latest(tmp_path, said.append)
    assert found is not None
    assert found.step == 1
    assert said == [f"a checkpoint in {tmp_path} is broken (step-000002: {name} is missing): going on from step-000001"]


def test_a_longer_file_is_noticed(tmp_path: Path) -> None:
    with (two(tmp_path) / "state.json").open("a") as file:
        file.write(" ")
    said: list[str] = []
    found = latest(tmp_path, said.append)
    assert found is not None
    assert found.step == 1
    assert "state.json has 16 bytes in place of 15" in said[0]  # {"position": 2} has 15.


def test_a_checkpoint_under_another_name_is_noticed(tmp_path: Path) -> None:
    two(tmp_path).rename(tmp_path / "step-000003")
    said: list[str] = []
    found = latest(tmp_path, said.append)
    assert found is not None
    assert found.step == 1
    assert "step-000003" in said[0]


def test_all_broken_is_an_error_that_names_them(tmp_path: Path) -> None:
    (two(tmp_path) / "state.json").unlink()
    shutil.rmtree(tmp_path / "step-000001")
    (tmp_path / "step-000001").mkdir()
    said: list[str] = []
    with pytest.raises(UserError) as caught:
        latest(tmp_path, said.append)
    assert str(caught.value) == (
        f"no checkpoint in {tmp_path} is intact (step-000002: state.json is missing; "
        "step-000001: manifest.json is missing): restore one, or delete the folder to restart"
    )
    assert said == []


def test_a_full_disk_is_one_sentence_and_costs_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 1, {"x": torch.ones(10)}, {"position": 1})
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
            with pytest.raises(
                UserError, match=r"step-000002 cannot be written \(.*[Ff]ile too large.*\): make room"
            ) as e:
                save(tmp_path, 2, {"x": torch.ones(10_000)}, {"position": 2})
            assert "\n" not in str(e.value)
            with pytest.raises(UserError, match="step-000002 cannot be written"):
                save(tmp_path, 2, {}, {"position": "2" * 10_000})
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert names(tmp_path) == ["step-000001"]
    found = latest(tmp_path, refuse)
    assert found is not None
    assert found.state == {"position": 1}


def save_without_end(folder: Path, start: int, said: int) -> None:
    for step in range(start, 10**9):
        save(folder, step, {"x": torch.full((50_000,), float(step)), "step": torch.tensor(step)}, {"step": step})
        os.write(said, b"%d\n" % step)


def killed_saver(folder: Path, start: int, seconds: float) -> int:
    """A process that saves from `start` on and is killed with SIGKILL; the last step it knew to be saved."""
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            save_without_end(folder, start, say)
        finally:
            os._exit(1)
    os.close(say)
    with os.fdopen(hear, "rb") as pipe:
        pipe.readline()  # At work: the clock runs from here.
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        steps = [int(line) for line in pipe.read().splitlines(keepends=True) if line.endswith(b"\n")]
    return steps[-1] if steps else start


def test_a_killed_saver_leaves_whole_checkpoints(tmp_path: Path) -> None:
    """Twenty real processes, one after the other as a run resumed again and again, killed at random moments."""
    moments = random.Random(0)
    step = unfinished = 0
    for _ in range(20):
        saved = killed_saver(tmp_path, step + 1, moments.uniform(0.0, 0.03))
        unfinished += any(name.startswith(".burnish") for name in names(tmp_path))
        visible = [name for name in names(tmp_path) if name.startswith("step-")]
        assert 1 <= len(visible) <= 3  # Two kept, and one more where the kill came before the oldest went.
        for name in visible:
            whole = latest_of(tmp_path / name)
            assert (whole.tensors["x"] == whole.step).all()
            assert whole.tensors["step"].item() == whole.state["step"] == whole.step
        found = latest(tmp_path, refuse)
        assert found is not None
        assert found.step in (saved, saved + 1)
        assert all(name.startswith("step-") for name in names(tmp_path))
        step = found.step
    assert unfinished  # Else no kill hit a save, and the test proved nothing.


def latest_of(path: Path) -> Checkpoint:
    """The one checkpoint at `path`, by way of a folder that holds nothing else."""
    alone = path.parent.with_name("alone")
    shutil.rmtree(alone, ignore_errors=True)
    shutil.copytree(path, alone / path.name)
    found = latest(alone, refuse)
    assert found is not None
    return found


def test_an_error_at_any_operation_costs_no_checkpoint(tmp_path: Path) -> None:
    """The checkpoints of steps 1 and 2 are there when 3 is saved: the newest is 2 or 3 afterwards, and whole."""

    def check(ended: bool) -> None:
        found = latest(tmp_path, refuse)
        assert found is not None
        assert found.step == 3 if ended else found.step in (2, 3)
        assert found.state == {"position": found.step}
        two(tmp_path)

    two(tmp_path)
    saving = partial(save, tmp_path, 3, {"x": torch.full((5,), 3.0)}, {"position": 3})
    assert every_fault(tmp_path, saving, check) >= 20
