"""Weights & Biases offline: its own files hold what was logged, once, and nothing else of the user's."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .helpers import follow, follow_twice

pytest.importorskip("wandb")

from burnish.run.trackers.wandb import plain, renewed


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "5ecre7" * 7)
    monkeypatch.setattr(sys, "argv", ["burnish", "--judge", "http://user:hunter2@judge"])


def records(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, part = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or last
            yield Record.FromString(part)
            part = b""


def history(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    lines = [record.history.item for record in records(file) if record.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in line} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("how", [follow, follow_twice])
def test_steps_and_tables_are_there_once(how: Any, tmp_path: Path) -> None:
    import wandb

    folder = how(tmp_path / "run", "wandb")
    wandb.teardown()  # as at the end of the process: the last lines are written then
    found = history(folder)
    assert [line["_step"] for line in found] == [*range(1, 9)]
    assert [line["loss"] for line in found] == [1 / step for step in range(1, 9)]
    assert [line["_step"] for line in found if any(key.startswith("samples") for key in line)] == [4, 8]
    assert len([*folder.glob("wandb/offline-run-*/files/media/table/*.json")]) >= 1
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"5ecre7" not in everything
    assert b"hunter2" not in everything


def test_what_was_synchronised_stays(tmp_path: Path) -> None:
    now, old = tmp_path / "offline-run-2-x1", tmp_path / "offline-run-1-x1"
    for folder in (now, old, tmp_path / "offline-run-1-x2"):
        folder.mkdir()
    (old / "run-x1.wandb.synced").touch()
    assert not renewed(now, "x1")
    assert old.exists()
    (old / "run-x1.wandb.synced").unlink()
    assert renewed(now, "x1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["offline-run-1-x2", "offline-run-2-x1"]


def test_cells_hold_plain_values() -> None:
    assert plain([{"role": "user"}]) == "[{'role': 'user'}]"
    assert (plain(None), plain(1.5), plain("a")) == (None, 1.5, "a")
