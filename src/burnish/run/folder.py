"""The folder of one run: taken by one process, resumed after a kill, appended to line by line."""

import fcntl
import json
import math
import os
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from burnish.run.atomic import (
    NEW,
    OLD,
    UserError,
    cannot_write,
    clean_leftovers,
    save_folder_atomically,
    sync,
    write_atomically,
)
from burnish.run.records import HARMLESS, config_differences, plain, read_mapping

APPENDED = ("metrics", "timings", "samples")
"""The files that only grow: `append("metrics", …)` writes to `metrics.jsonl`."""

INPUTS = ("seed", "data_sha256", "model_sha256", "critic_sha256")
"""Entries of `environment.json` that must not change within a run; the others may, at the price of other bits."""

LOCK = ".lock"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
PRELIMINARIES = {CONFIG, ENVIRONMENT}


class RunFolder:
    """A run's folder, held by this process alone until `close`, the end of a `with` block, or the process's death."""

    def __init__(self, path: Path, resumed: bool, lock: int) -> None:
        """Use `RunFolder.open`. `resumed`: the folder holds a run that this one goes on with."""
        self.path, self.resumed = path, resumed
        self._lock: int | None = lock
        self._files: dict[str, int] = {}

    @classmethod
    def open(cls, path: str | Path, resume: bool = False) -> "RunFolder":
        """Take the folder at `path` for a run: a new one, or with `resume` one that a killed run left.

        `resume` with nothing to resume starts fresh. Raises `UserError` where the folder holds something and `resume`
        is not set, where what it holds is no run, where another process uses it, or where it cannot be made.
        """
        path = Path(path)
        _look(path, resume)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _take(lock, path)
            clean_leftovers(path)
            resumed = _look(path, resume)  # Again: another process may have begun, and ended, a run since.
            return cls(path, resumed, lock)
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Let another process have the folder."""
        self._close_files()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, config: dict[str, Any], free: Collection[str] = HARMLESS) -> None:
        """Write `config.yaml`; in a resumed run, raise `UserError` where `config` differs in a key not in `free`."""
        path = self.path / CONFIG
        if not self.resumed:
            self._mark()
            write_atomically(path, yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True))
        elif differences := config_differences(read_mapping(path), config, free):
            raise UserError(
                f"{self.path} was begun with another config, {', '.join(differences)}: "
                "resume with the same one or choose another --out"
            )

    def describe(self, environment: dict[str, Any]) -> list[str]:
        """Write `environment.json`; in a resumed run, leave it and return what differs now, as phrases, to warn of.

        Raises `UserError` where one of `INPUTS` differs: going on would mix two runs.
        """
        path = self.path / ENVIRONMENT
        if not (self.resumed and path.exists()):
            write_atomically(path, json.dumps(plain(environment), indent=2, allow_nan=False) + "\n")
            return []
        differences = config_differences(read_mapping(path), environment, free=())
        if serious := [phrase for phrase in differences if phrase.split()[0] in INPUTS]:
            raise UserError(
                f"{self.path} was begun with other inputs, {', '.join(serious)}: restore them or choose another --out"
            )
        return differences

    def replace_folder(self, name: str) -> AbstractContextManager[Path]:
        """Give an empty folder to fill; it becomes the run's folder `name`, whole, when the block ends well."""
        return save_folder_atomically(self.path / name)

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add one line to `metrics`, `timings` or `samples`; a kill loses at most a part of the line being written.

        Keys keep their order and floats their every bit; a number that JSON cannot hold (NaN, ±∞) becomes null.
        Raises `UserError` where the disk refuses; the file then ends with the line before.
        """
        path = self._appended(name)
        text = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            line = text.encode()
        except UnicodeEncodeError:  # Half a surrogate pair, as JSON from elsewhere may hold: only ASCII can say it.
            line = (json.dumps(_finite(record), allow_nan=False) + "\n").encode()
        try:
            if name not in self._files:
                self._files[name] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            _write_whole(self._files[name], line)
        except OSError as error:
            raise cannot_write(path, error) from error

    def offsets(self) -> dict[str, int]:
        """The lengths in bytes of the growing files, for a checkpoint to remember; their content is on the disk."""
        paths = {name: self._appended(name) for name in APPENDED}
        present = {name: path for name, path in paths.items() if path.exists()}
        for path in present.values():
            sync(path)
        return {name: path.stat().st_size for name, path in present.items()}

    def rewind(self, offsets: dict[str, int]) -> None:
        """Cut the growing files back to what a checkpoint saw; a file that it did not see goes.

        Raises `UserError`, before anything is cut, where a file is shorter than that or its end is no end of a line.
        """
        lengths = {self._appended(name): offsets.get(name, 0) for name in {*APPENDED, *offsets}}
        for path, length in lengths.items():
            if length and not _ends_line(path, length):
                raise UserError(f"{path} has changed since the last checkpoint: restore it or choose another --out")
        self._close_files()
        for path, length in lengths.items():
            if length:
                os.truncate(path, length)
            else:
                path.unlink(missing_ok=True)

    def _mark(self) -> None:
        """Write into the lock file, so that a later look can tell that the folder's config is a run's."""
        assert self._lock is not None
        try:
            os.pwrite(self._lock, b"burnish\n", 0)
        except OSError as error:
            raise cannot_write(self.path / LOCK, error) from error

    def _appended(self, name: str) -> Path:
        if name not in APPENDED:
            raise ValueError(f"no growing file {name!r}: there are {', '.join(APPENDED)}")
        return self.path / f"{name}.jsonl"

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])


def _look(path: Path, resume: bool) -> bool:
    """Whether `path` holds a run to go on with; raises `UserError` where a run may not have it.

    What a run left that ended before its first step (refused data, say) is nothing to go on with, nor to lose.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file: choose another --out")
    try:
        found = {entry.name for entry in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): choose another --out") from error
    names = {name for name in found if name != LOCK and not name.startswith((NEW, OLD))}
    if not names or (names <= PRELIMINARIES and LOCK in found and (path / LOCK).stat().st_size):
        return False
    if not resume:
        raise UserError(f"{path} exists and is not empty: use --resume to go on with it, or another --out")
    if CONFIG not in found:
        raise UserError(f"{path} holds no run to resume: choose another --out")
    return True


def _take(lock: int, path: Path) -> None:
    """Lock for this process; the kernel unlocks when it dies, whatever kills it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{path} is in use by another process: wait for it, or choose another --out") from error
    except OSError:
        pass  # A file system without locks: better unguarded than unusable.


def _write_whole(descriptor: int, line: bytes) -> None:
    """Append `line`, or nothing where the disk refuses."""
    before = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _ends_line(path: Path, length: int) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(length - 1)
        return file.read(1) == b"\n"


def _finite(value: Any) -> Any:
    """`value` with null for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
