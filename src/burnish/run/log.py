"""What each process of a run says, in a file of its own: `logs/rank-000.txt`, `logs/rank-001.txt` …"""

import contextlib
import io
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from burnish.run.world import LostError, World

LOGS = "logs"
"""The folder of these files, in the run's."""


class Log(io.TextIOBase):
    """A text stream that appends whole lines to a file, each with the time, and passes all on to another stream.

    Control codes, as of a progress bar on a terminal, are passed on alone. A full disk ends the log, not the run.
    """

    def __init__(self, path: Path, beside: TextIO | None = None) -> None:
        self.beside, self.begun = beside, ""
        self.file: int | None = None
        with contextlib.suppress(OSError):  # a folder that another process has just removed
            self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def write(self, text: str) -> int:
        if self.beside is not None:
            self.beside.write(text)
        if "\x1b" not in text:
            *lines, self.begun = (self.begun + text).split("\n")
            for line in lines:
                self.note(line)
        return len(text)

    def note(self, line: str) -> None:
        """Append a line to the file alone."""
        if self.file is None or not line.strip():
            return
        now = datetime.now().isoformat(sep=" ", timespec="milliseconds")
        try:
            os.write(self.file, f"{now} {line}\n".encode(errors="backslashreplace"))
        except OSError:
            self.end()

    def flush(self) -> None:
        if self.beside is not None:
            self.beside.flush()

    def isatty(self) -> bool:
        return self.beside is not None and self.beside.isatty()

    def fileno(self) -> int:
        return (self.beside or sys.__stderr__ or sys.stderr).fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8" if self.beside is None else self.beside.encoding

    def end(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None


@contextlib.contextmanager
def logged(folder: Path, world: World) -> Iterator[None]:
    """Write what this process says in the block, and the error that ends it, to its file in `folder`.

    The main process goes on to print; what the others print goes to the file alone. One process has no such file.
    """
    if world.size == 1:
        yield
        return
    log = Log(folder / LOGS / f"rank-{world.rank:03}.txt", sys.stderr if world.is_main else None)
    log.note(f"process {world.rank} of {world.size} begins: number {os.getpid()} on {socket.gethostname()}")
    with contextlib.ExitStack() as stack:
        stack.callback(log.end)
        stack.enter_context(contextlib.redirect_stderr(log))
        if not world.is_main:
            stack.enter_context(contextlib.redirect_stdout(log))
        try:
            yield
        except BaseException as error:
            for line in described(error):
                log.note(line)
            raise
        log.note("ended")


def described(error: BaseException) -> list[str]:
    """The lines about what ended a process: a sentence where another one was lost, else with where it was."""
    if isinstance(error, LostError):
        return [str(error)]
    found: list[Any] = traceback.format_exception(error)
    return "".join(found).splitlines()
