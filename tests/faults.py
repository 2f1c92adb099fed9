"""Errors of the disk, one at a time: the operation number so-and-so on the files of a folder fails.

Python's own calls alone; bench/disk_faults.py has those of Rust and Arrow too.
"""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.run import UserError

CALLS = ("open", "write", "pwrite", "fsync", "truncate", "ftruncate", "rename", "replace", "unlink", "rmdir", "mkdir")


@contextmanager
def failing(folder: Path, position: int, number: int = errno.EIO) -> Iterator[list[str]]:
    """The operations below `folder` until now; that of this `position`, from 1, raises OSError."""
    done: list[str] = []

    def wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any, **options: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.path.abspath(target)
            # what a library reads of a folder by its descriptor, and the working folder, are not of interest
            if Path(os.fsdecode(path)).is_relative_to(folder):
                done.append(f"{name} {path}")
                if len(done) == position:
                    raise OSError(number, os.strerror(number), str(path))
            return original(target, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrapped(name, getattr(os, name)))
        for module in (builtins, io):
            patch.setattr(module, "open", wrapped("open", io.open))
        yield done


def every_fault(folder: Path, act: Callable[[], Any], check: Callable[[bool], None]) -> int:
    """`act` with an error at every position in turn, until none is left; the number of positions.

    It has to end well, or with a UserError that names a file in the folder; `check` gets whether it ended well.
    """
    position = 0
    while True:
        position += 1
        with failing(folder, position) as done:
            try:
                act()
                ended = True
            except UserError as error:
                assert str(folder) in str(error)  # noqa: PT017
                assert "Input/output error" in str(error)  # noqa: PT017
                ended = False
        if len(done) < position:
            assert ended
            return position - 1
        check(ended)
