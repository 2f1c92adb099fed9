"""`burnish launch` and the real torchrun, with a small program in the place of the one that trains."""

import os
import signal
import time
from pathlib import Path

import jobs
import pytest

PROGRAM = """
import os, pathlib, signal, sys, time
rank = os.environ["RANK"]
size, threads = os.environ["WORLD_SIZE"], os.environ["OMP_NUM_THREADS"]
pathlib.Path(f"{rank}.txt").write_text(" ".join([size, threads, *sys.argv[1:]]))
if "fail" in sys.argv and rank == "1":
    print("burnish: the sentence", file=sys.stderr)
    sys.exit(2)
if "die" in sys.argv and rank == "1":
    os.kill(os.getpid(), signal.SIGKILL)
if "wait" in sys.argv or "die" in sys.argv or "fail" in sys.argv:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pathlib.Path(f"{rank}.txt").write_text("interrupted")
        sys.exit(130)
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `burnish launch` writes; the processes that torchrun starts find `PROGRAM` as burnish."""
    jobs.serve()  # who has imported the real one
    (tmp_path / "other/burnish").mkdir(parents=True)
    (tmp_path / "other/burnish/__init__.py").touch()
    (tmp_path / "other/burnish/__main__.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    return tmp_path / "log.txt"


def test_every_process_gets_the_command(log: Path) -> None:
    assert jobs.run(["launch", "2", "--", "online-dpo", "--steps", "3", "--", "--debug"], log) == 0
    for rank in range(2):
        assert (log.parent / f"{rank}.txt").read_text() == "2 3 online-dpo --steps 3 -- --debug"
    assert log.read_text() == ""


def test_a_failure_is_the_sentence_of_the_process_alone(log: Path) -> None:
    assert jobs.run(["launch", "2", "sft", "fail"], log) == 2
    assert log.read_text() == "burnish: the sentence\n"


def test_a_process_that_is_killed_is_named(log: Path) -> None:
    assert jobs.run(["launch", "2", "sft", "die"], log) == 2
    assert log.read_text() == "burnish: process 1 of 2 was ended by SIGKILL: continue with --resume\n"


def test_control_c_reaches_every_process_once(log: Path) -> None:
    process = jobs.start(["launch", "2", "sft", "wait"], log)
    while not all((log.parent / f"{rank}.txt").exists() for rank in range(2)):
        assert process.is_alive()
        time.sleep(0.05)
    time.sleep(0.2)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert jobs.finish(process) == 130
    assert [(log.parent / f"{rank}.txt").read_text() for rank in range(2)] == ["interrupted"] * 2
    assert log.read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2", "--", "chat", "model"], "burnish: burnish chat runs in one process: start it without launch\n"),
        (["2", "--"], "Give a command and its options"),
        (["2"], "Missing argument 'COMMAND...'"),
        (["0", "sft"], "0 is not in the range x>=1"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str, burnish: object) -> None:
    status, out, error = burnish("launch", *arguments)  # type: ignore[operator]
    assert (status, out) == (2, "")
    assert said in error
