"""Starts confined processes and reads what they find: the only module here that runs in the user's own process."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from burnish.rewards.sandbox.confine import missing

MOST_OUTPUT = 1_000_000
"""Bytes of output that are read; a program that prints more has failed."""

PROBE = """
def reaches():
    import os, socket
    found = []
    for what, attempt in {
        "files": lambda: os.listdir(os.path.expanduser("~")) or os.listdir("/"),
        "writing": lambda: open("/tmp/burnish_probe", "w").close(),
        "the network": lambda: socket.socket(),
        "processes": lambda: os.fork() or os._exit(0),
        "signals": lambda: os.kill(os.getppid(), 0),
    }.items():
        try:
            attempt()
            found.append(what)
        except OSError:
            pass
    return found
"""
"""A program that says what it can reach, which must be nothing."""


@dataclass(frozen=True)
class Limits:
    """Of one program: seconds of CPU time, seconds altogether, and bytes of memory."""

    seconds: int = 5
    wall_seconds: int = 30
    memory: int = 512 * 2**20


@dataclass(frozen=True)
class Verdict:
    """How many of an answer's tests passed, and what the last that failed said."""

    passed: int
    total: int
    why: str = ""


def run_tests(program: str, tests: Sequence[str], entry: str | None = None, limits: Limits = Limits()) -> Verdict:
    """Run `tests`, each a Python source, against a program's functions; see `judge.verdict`."""
    to_program, to_tests = os.pipe(), os.pipe()
    given = json.dumps({"program": program, "tests": list(tests), "entry": entry}).encode()
    own = (limits.seconds, limits.memory)
    with started("answer", "main", own, to_program[0], to_tests[1]):
        os.close(to_program[0])
        os.close(to_tests[1])
        passed_on = (to_program[1], to_tests[0])
        with input_of(given) as file, started("judge", "main", (*own, *passed_on), file, None, passed_on) as judge:
            for number in passed_on:
                os.close(number)
            output = read_all(judge, limits)
    try:
        found = json.loads(output or b"")
        return Verdict(int(found["passed"]), len(tests), str(found["why"]))
    except (ValueError, KeyError, TypeError):
        return Verdict(0, len(tests), "the tests did not end")


def run_script(program: str, text: str, limits: Limits = Limits()) -> str | None:
    """What a program prints when `text` is its input; None if it fails, takes too long or prints too much."""
    given = json.dumps(program).encode() + b"\n" + text.encode("utf-8", "replace")
    with input_of(given) as file, started("answer", "script", (limits.seconds, limits.memory), file, None) as process:
        output = read_all(process, limits)
    return None if output is None or process.returncode else output.decode("utf-8", "replace")


@cache
def refusal() -> str:
    """Why programs cannot be run here; "" if they can. A program that tries to leave its confinement is run once."""
    if problem := missing():
        return problem
    verdict = run_tests(PROBE, ["assert reaches() == [], reaches()"])
    return "" if verdict.passed == 1 else f"a program there could get out ({verdict.why})"


def calling(module: str, function: str) -> list[str]:
    """The arguments of a Python that calls a function of this folder; those of the function follow.

    Imported from the folder around it, this folder does not import all of Burnish.
    """
    code = (
        f"import sys; sys.path.insert(0, sys.argv.pop(1)); from sandbox.{module} import {function}; "
        f"sys.path.pop(0); {function}()"
    )
    return ["-c", code, str(Path(__file__).parents[1])]


@contextmanager
def started(
    module: str, function: str, arguments: Sequence[int], stdin: int, stdout: int | None, kept: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a function of this folder, without the environment; killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", *calling(module, function), *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        pass_fds=kept,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def input_of(content: bytes) -> Iterator[int]:
    """A file with this content, as the input of a process that may never read it."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


def read_all(process: subprocess.Popen[Any], limits: Limits) -> bytes | None:
    """All that a process writes until it ends; None if that is too much or takes too long."""
    assert process.stdout is not None
    until, found, number = time.monotonic() + limits.wall_seconds, bytearray(), process.stdout.fileno()
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([number], [], [], left)[0]:
            return None
        piece = os.read(number, 65536)
        if not piece:
            break
        found += piece
        if len(found) > MOST_OUTPUT:
            return None
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    return bytes(found)
