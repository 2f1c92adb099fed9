"""A file of records that grows by a line at a time, each on disk before anything else happens."""

import fcntl
import os
from pathlib import Path
from typing import Any, ClassVar

from burnish.run import UserError, writable_file
from burnish.run.atomic import cannot_write, sync
from burnish.run.lines import encoded, write_whole
from burnish.run.records import parse_line


class Journal:
    """The records of a JSONL file, which this process alone may write until it is closed.

    What a killed writer left of a line is removed: it was never confirmed. Raises UserError if the file cannot be
    written, is in use, or has a line that is not a record.
    """

    command: ClassVar[str]
    """The command that writes such files."""
    record: ClassVar[str]
    """What a line is, with its article."""
    remedy: ClassVar[str]
    """What to do where a line cannot be written."""

    def __init__(self, path: str | Path) -> None:
        self.path = writable_file(path)
        self.records: list[dict[str, Any]] = []
        try:
            self.file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            self._lock()
            self._read()
            self.check()
            self._sync_folder()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise UserError where the records that are there are not those that this process goes on with."""

    def keep(self, record: dict[str, Any]) -> None:
        """Note a record that is in the file."""
        self.records.append(record)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record; when this returns, it is on disk. Raises UserError if that fails; then it is not in the
        file."""
        before = os.fstat(self.file).st_size
        try:
            write_whole(self.file, encoded(record))
            try:
                os.fsync(self.file)
            except OSError:
                os.ftruncate(self.file, before)
                raise
        except OSError as error:
            raise cannot_write(self.path, error, self.remedy) from error
        self.keep(record)

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{self.path} is in use by another {self.command}: end it, or choose another --out"
            ) from error
        except OSError:
            pass  # a file system without locks

    def _sync_folder(self) -> None:
        try:
            sync(self.path.parent)
        except OSError as error:
            raise cannot_write(self.path, error, self.remedy) from error

    def _read(self) -> None:
        *lines, last = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if line.strip():
                self.keep(self._parsed(line, number))
        if last:
            try:
                self.keep(self._parsed(last, len(lines) + 1))
                whole = True
            except UserError:
                whole = False
            self._end(whole, sum(len(line) + 1 for line in lines))

    def _end(self, whole: bool, before: int) -> None:
        """End the last line if it is `whole`; otherwise remove it, which leaves so many bytes."""
        try:
            if whole:
                write_whole(self.file, b"\n")
            else:
                os.ftruncate(self.file, before)
            os.fsync(self.file)
        except OSError as error:
            raise cannot_write(self.path, error, self.remedy) from error

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        return parse_line(line, self.path, number, self.record, "remove it, or choose another --out")
