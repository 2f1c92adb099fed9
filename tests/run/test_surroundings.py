"""What the machine refuses: each of PyTorch's, numpy's and the system's errors becomes the right sentence."""

import os
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.config import read_config
from burnish.data import sources, streams
from burnish.data.names import single
from burnish.policies.language.adapters import source_of
from burnish.run import (
    UserError,
    lacks_memory,
    read_jsonl,
    read_mapping,
    refuse_few_threads,
    refuse_special,
    threads_allowed,
)


def test_memory_that_runs_out_is_recognised_with_what_was_asked_for() -> None:
    """2⁵⁰ numbers of 4 bytes are 2⁵² bytes: 4 194 304 GiB, or 4 PiB as numpy says it."""
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**50)
    assert lacks_memory(of_torch.value) == "not enough memory (4,194,304.0 GiB asked for)"
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**50, dtype=np.float32)
    assert lacks_memory(of_numpy.value) == "not enough memory (4.00 PiB asked for)"
    of_a_gpu = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8"
    )
    assert lacks_memory(RuntimeError("can't allocate memory: you tried to allocate 29491200 bytes.")) == (
        "not enough memory (28.1 MiB asked for)"
    )
    assert lacks_memory(ImportError("x.so: failed to map segment from shared object")) == "not enough memory"
    assert lacks_memory(ImportError("No module named x")) is None
    assert lacks_memory(of_a_gpu) == "not enough memory (20.00 GiB asked for)"
    assert lacks_memory(MemoryError()) == "not enough memory"
    assert lacks_memory(RuntimeError("std::bad_alloc")) == "not enough memory"


def test_other_errors_are_none_of_memory() -> None:
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), OSError("x"), KeyError("memory")):
        assert lacks_memory(error) is None


def specials(folder: Path) -> dict[str, str]:
    """A file of each kind that is none, by name, and how it is called."""
    os.mkfifo(folder / "fifo.jsonl")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "socket.jsonl"))
    (folder / "zero.jsonl").symlink_to("/dev/zero")
    return {"fifo.jsonl": "FIFO", "socket.jsonl": "socket", "zero.jsonl": "device"}


def test_what_is_no_file_is_refused_wherever_it_would_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a FIFO waits for a writer, and /dev/zero never ends."""
    monkeypatch.chdir(tmp_path)
    readers = {
        "itself": refuse_special,
        "data": sources.load,
        "streamed data": lambda name: streams.stream(single(name)),
        "a configuration": read_config,
        "a model": source_of,
        "a run's records": lambda name: read_jsonl(Path(name)),
        "a run's settings": lambda name: read_mapping(Path(name)),
    }
    for name, kind in specials(tmp_path).items():
        for what, read in readers.items():
            with pytest.raises(UserError, match=f"^{re.escape(name)} is a {kind}, not a file: copy") as refused:
                read(name)
            assert refused.value, what


def test_a_folder_with_one_is_refused_as_data_and_as_a_model(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a film"}\n')
    refuse_special(tmp_path)
    os.mkfifo(tmp_path / "config.json")
    for read in (refuse_special, sources.load, source_of):
        with pytest.raises(UserError, match=r"config\.json is a FIFO, not a file"):
            read(tmp_path)


def test_what_is_not_there_is_left_to_its_reader(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path / ("x" * 300), "a\0b"):
        refuse_special(path)


def test_threads_are_counted_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system of this test allows three threads beside the one that asks."""
    start, running = threading.Thread.start, threading.active_count()

    def limited(thread: threading.Thread) -> None:
        if threading.active_count() >= running + 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    assert [threads_allowed(count) for count in (1, 2, 9)] == [1, 2, 9]
    refuse_few_threads()
    monkeypatch.setattr(threading.Thread, "start", limited)
    assert [threads_allowed(count) for count in (1, 4, 5, 9)] == [1, 4, 4, 4]
    with pytest.raises(UserError, match=r"^the system lets this process have 4 threads, and its libraries need 16"):
        refuse_few_threads()
    assert threading.active_count() == running
