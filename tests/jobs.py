"""Real processes that train and are killed: forked from a server that has imported everything once.

`crash` names a place, and the process sends itself SIGKILL there (at "interrupt", SIGINT); nothing else is changed.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import unsynced  # noqa: F401

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["burnish.recipes.train.run", "burnish.cli", "peft", "pytest", "warm"])


def serve() -> None:
    """Start the server, if there is none; it finds `warm` in this folder."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def process(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that is forked from the server when it is started."""
    serve()
    return CONTEXT.Process(target=target, args=arguments)


def start(arguments: list[str], log: Path, crash: tuple[str, int] | None = None) -> ForkServerProcess:
    """`burnish …` in a process of its own, in the log's folder; output goes to `log`."""
    started = process(child, arguments, str(log), crash, dict(os.environ))
    started.start()
    return started


def finish(started: ForkServerProcess, seconds: float = 300) -> int:
    """Wait for the end; the exit status, −9 after SIGKILL."""
    started.join(seconds)
    assert started.exitcode is not None, "the process hangs"
    return started.exitcode


def first_line(started: ForkServerProcess, log: Path) -> str:
    """What the process says first; all that it said where that is no line."""
    while started.is_alive() and not (log.exists() and b"\n" in log.read_bytes()):
        time.sleep(0.01)
    said = log.read_text()
    return said.splitlines()[0] if said else said


def run(arguments: list[str], log: Path, crash: tuple[str, int] | None = None) -> int:
    return finish(start(arguments, log, crash))


def child(arguments: list[str], log: str, crash: tuple[str, int] | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(Path(log).parent)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)  # a line at a time, as Python has it
    if crash:
        die_at(*crash)
    from burnish.cli import main

    main(arguments)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_at(place: str, times: int) -> None:
    """Die the `times`-th time that the run comes to `place`."""
    from safetensors import torch as safetensors_torch

    from burnish.policies.language import slots
    from burnish.policies.language.policy import LanguagePolicy
    from burnish.policies.language.scorer import LanguageScorer
    from burnish.run import RunFolder
    from burnish.training import checkpoint, loop, step
    from burnish.training.language import learner

    holders: dict[str, tuple[Any, str]] = {
        "mid-rollout": (slots, "next_tokens"),
        "mid-accumulation": (step, "objective"),
        "interrupt": (step, "objective"),
        "after the update": (learner, "step"),
        "mid-line": (RunFolder, "append"),
        "mid-evaluation": (loop, "evaluation"),
        "before a checkpoint": (learner, "save"),
        "mid-save": (checkpoint, "save_file"),
        "after a checkpoint": (checkpoint, "remove_folder_atomically"),
        "best": (loop, "save_best"),
        "mid-model": (LanguagePolicy, "save"),
        "mid-scorer": (LanguageScorer, "save"),
        "before the model": (RunFolder, "replace_folder"),
    }
    holder, name = holders[place]
    original = getattr(holder, name)
    count = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if place == "interrupt" and count == times:
            os.kill(os.getpid(), signal.SIGINT)
        if place == "interrupt" or count < times:
            return original(*args, **kwargs)
        if place == "mid-save":
            content = safetensors_torch.save(args[0])
            Path(args[1]).write_bytes(content[: len(content) // 2])
        elif place == "mid-line":
            folder, file, record = args
            original(folder, file, record)
            path = folder.path / f"{file}.jsonl"
            os.truncate(path, path.stat().st_size - 20)
        elif place in ("mid-model", "mid-scorer"):
            with contextlib.suppress(Exception):
                args[0].tokenizer.save_pretrained(args[1])
            (args[1] / "model.safetensors").write_bytes(b"half of a mod")
        elif place == "after the update":
            original(*args, **kwargs)
        die()

    setattr(holder, name, wrapped)
