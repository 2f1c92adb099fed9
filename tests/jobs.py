"""Real processes that train and are killed: forked from a server that has imported everything once.

`crash` names a place, and the process sends itself SIGKILL there (at "interrupt", SIGINT); nothing else is changed.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["burnish.recipes.train.run", "burnish.cli", "peft", "pytest"])


def start(arguments: list[str], log: Path, crash: tuple[str, int] | None = None) -> ForkServerProcess:
    """`burnish …` in a process of its own, in the log's folder; output goes to `log`."""
    process = CONTEXT.Process(target=child, args=(arguments, str(log), crash, dict(os.environ)))
    process.start()
    return process


def finish(process: ForkServerProcess, seconds: float = 300) -> int:
    """Wait for the end; the exit status, −9 after SIGKILL."""
    process.join(seconds)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode


def run(arguments: list[str], log: Path, crash: tuple[str, int] | None = None) -> int:
    return finish(start(arguments, log, crash))


def child(arguments: list[str], log: str, crash: tuple[str, int] | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(Path(log).parent)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
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
