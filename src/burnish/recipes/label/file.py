"""The labels file: a line per answer, appended and synced before anything else happens."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from burnish.data.labels import Vote, votes_of
from burnish.run import UserError, first_line, writable_file
from burnish.run.atomic import cannot_write, sync
from burnish.run.lines import encoded, write_whole


class LabelFile:
    """The answers in a file, which this process alone may write until it is closed.

    What a killed writer left of a line is removed: it was never confirmed. Raises UserError if the file cannot be
    written, is in use, or is not of labels of the data with this checksum.
    """

    def __init__(self, path: str | Path, data: str) -> None:
        self.path, self.data = writable_file(path), data
        self.records: list[dict[str, Any]] = []
        self.votes: list[Vote] = []
        self.ids: dict[str, int] = {}
        """The number of each answer's record."""
        try:
            self.file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            self._lock()
            self._read()
            sync(self.path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, record: dict[str, Any]) -> None:
        """Write one answer; when this returns, it is on disk. Raises UserError if that fails; then it is not in the
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
            raise cannot_write(self.path, error, "make room there; the answer is kept on the page") from error
        self._keep(record)

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _keep(self, record: dict[str, Any]) -> None:
        number = len(self.records)
        self.votes += votes_of([(number, record)], str(self.path))
        self.records.append(record)
        self.ids[str(record.get("id"))] = number

    def _lock(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{self.path} is in use by another burnish label: end it, or choose another --out"
            ) from error
        except OSError:
            pass  # a file system without locks

    def _read(self) -> None:
        *lines, last = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._keep(self._parsed(line, number))
        if last:
            whole = sum(len(line) + 1 for line in lines)
            try:
                self._keep(self._parsed(last, len(lines) + 1))
            except UserError:
                os.ftruncate(self.file, whole)
            else:
                os.write(self.file, b"\n")
            os.fsync(self.file)
        for record in self.records:
            if record.get("data") != self.data:
                raise UserError(
                    f"{self.path} has labels of other data (checksum {str(record.get('data'))[:12]}, not "
                    f"{self.data[:12]}): choose another --out, or give the data that it was begun with"
                )

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{self.path}, line {number}: is not JSON ({first_line(error)}): remove it, or choose another --out"
            ) from error
        if not isinstance(record, dict):
            raise UserError(f"{self.path}, line {number}: is not a label: remove it, or choose another --out")
        return record
