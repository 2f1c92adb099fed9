"""The folder of one run: locked by one process, resumable after a kill, appended to line by line."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
from burnish.run.checksums import has_digest, sha256_of_first
from burnish.run.lines import encoded, ends_line, is_at, write_whole
from burnish.run.log import LOGS
from burnish.run.places import refuse_dangling
from burnish.run.records import HARMLESS, config_differences, plain, read_mapping, yaml_with_checksum
from burnish.run.surroundings import refuse_special
from burnish.run.world import ALONE, World

APPENDED = ("metrics", "timings", "samples", "events")
"""The append-only files: `append("metrics", …)` writes to `metrics.jsonl`."""

INPUTS = (
    *("seed", "data_sha256", "ptx_data_sha256", "model_sha256", "critic_sha256"),
    *("watch_prompts_sha256", "watch_labels_sha256"),
    *("tokenizer_sha256", "judge_sha256", "judge_tokenizer_sha256"),
)
"""Entries of `environment.json` that a resumed run must not change; a change of others may change the rounding."""

LOCK = ".lock"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
MODELS = "models.json"
WATCH = "watch.json"
PRELIMINARIES = {CONFIG, ENVIRONMENT, MODELS, WATCH, LOGS, "base"}


class RunFolder:
    """A run's folder, locked by this process until `close`, the end of a `with` block, or the end of the process."""

    world: World = ALONE
    """The processes that the run is trained by; this one writes."""

    def __init__(self, path: Path, resumed: bool, lock: int | None, made: Sequence[Path] = ()) -> None:
        """Use `RunFolder.open`. `resumed`: the folder contains a run that this one continues. `made`: the folders that
        opening made, the innermost first.

        Each of the `listeners` is called with the name of the file and the record after each `append`.
        """
        self.path, self.resumed, self._made = path, resumed, made
        self._lock = lock
        self._files: dict[str, int] = {}
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []

    @classmethod
    def open(cls, path: str | Path, resume: bool = False) -> "RunFolder":
        """Open and lock the folder at `path` for a new run or, with `resume`, to continue a killed one.

        `resume` with nothing to resume starts a new run. Raises `UserError` if the folder is not empty and `resume` is
        not set, if its content is not a run or has a FIFO in it, if another process uses it, or if it cannot be made.
        """
        path = Path(path)
        refuse_dangling(path)
        try:
            _look(path, resume)
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from error
        try:
            _take(lock, path)
            if not is_at(lock, path / LOCK):
                raise _in_use(path)  # by one that ended just now, and removed the folder
            clean_leftovers(path)
            resumed = _look(path, resume)  # Again: another process may have begun and ended a run since.
            return cls(path, resumed, lock, made)
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Release the folder to other processes."""
        self._close_files()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.check_there()  # what was written last may be gone already
            elif not self.resumed:
                self._leave_nothing()
        finally:
            self.close()

    def claim(
        self, config: dict[str, Any], free: Collection[str] = HARMLESS, defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Write `config.yaml`; in a resumed run, raise `UserError` if `config` differs in a key not in `free`.

        A key that the file lacks, because an older version had no such option, has the value in `defaults`.
        """
        if not self.resumed:
            self._mark()
            self.write_config(config)
        elif differences := config_differences({**(defaults or {}), **self.claimed()}, config, free):
            raise UserError(
                f"{self.path} was begun with another config, {', '.join(differences)}: "
                "resume with the same one or choose another --out"
            )

    def write_config(self, config: dict[str, Any]) -> None:
        """Write `config.yaml`, in the place of an earlier one."""
        write_atomically(self.path / CONFIG, yaml_with_checksum(config))

    def claimed(self) -> dict[str, Any]:
        """What `config.yaml` says."""
        return read_mapping(self.path / CONFIG)

    def noted(self) -> dict[str, Any]:
        """What `environment.json` says about the run that is continued; nothing in a new run."""
        path = self.path / ENVIRONMENT
        return read_mapping(path) if self.resumed and path.exists() else {}

    def describe(self, environment: dict[str, Any]) -> list[str]:
        """Write `environment.json`; in a resumed run, keep it and return the differences as phrases for a warning.

        Raises `UserError` if one of `INPUTS` differs: continuing would mix two runs.
        """
        if not (noted := self.noted()):
            write_atomically(self.path / ENVIRONMENT, json.dumps(plain(environment), indent=2, allow_nan=False) + "\n")
            return []
        differences = config_differences(noted, environment, free=())
        if serious := [phrase for phrase in differences if phrase.split()[0] in INPUTS]:
            raise UserError(
                f"{self.path} was begun with other inputs, {', '.join(serious)}: restore them or choose another --out"
            )
        return differences

    def replace_folder(self, name: str) -> AbstractContextManager[Path]:
        """Yield an empty folder to fill; it becomes the run's folder `name` if the block succeeds.

        Raises `UserError` if writing fails, or if the run's folder is gone.
        """
        self.check_there()
        return save_folder_atomically(self.path / name)

    def check_there(self) -> None:
        """Raise `UserError` if the folder was removed or replaced since this run opened it."""
        try:
            if self._lock is not None and not is_at(self._lock, self.path / LOCK):
                raise _gone(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Append one line to a file of `APPENDED`; a kill truncates at most the line being written.

        The order of keys and all bits of floats are kept; a number that JSON cannot represent (NaN, ±∞) becomes null.
        Raises `UserError` if writing fails, and the file then ends with the previous line, or if the file that was
        begun is gone: what is written to it would be lost with no error.
        """
        path, line = self._appended(name), encoded(record)
        try:
            if name not in self._files:
                self.check_there()
                self._files[name] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            if not is_at(self._files[name], path):
                raise _gone(path)
            write_whole(self._files[name], line)
        except OSError as error:
            raise cannot_write(path, error) from error
        for listen in self.listeners:
            listen(name, record)

    def offsets(self) -> dict[str, int]:
        """Sync the append-only files to disk and return their lengths in bytes, for a checkpoint to store.

        Raises `UserError` if one cannot be synced, or is gone, or the folder is.
        """
        self.check_there()
        lengths = {}
        for name in APPENDED:
            path = self._appended(name)
            try:
                if name in self._files and not is_at(self._files[name], path):
                    raise _gone(path)
                if path.exists():
                    sync(path)
                    lengths[name] = path.stat().st_size
            except OSError as error:
                raise cannot_write(path, error) from error
        return lengths

    def digests(self, offsets: dict[str, int]) -> dict[str, str]:
        """The SHA-256 of what the append-only files have up to these lengths, for a checkpoint to store."""
        try:
            return {name: sha256_of_first(self._appended(name), length) for name, length in offsets.items()}
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def rewind(self, offsets: dict[str, int], digests: Mapping[str, str] = MappingProxyType({})) -> None:
        """Truncate the append-only files to the lengths in a checkpoint; delete those that it does not list.

        Raises `UserError`, before anything is truncated, if a file is shorter or the length is not at a line's end, or
        if what is before it has another of the `digests`, which older checkpoints lack.
        """
        lengths = {self._appended(name): offsets.get(name, 0) for name in {*APPENDED, *offsets}}
        known = {self._appended(name): digest for name, digest in digests.items()}
        for path, length in lengths.items():
            if length and not (ends_line(path, length) and has_digest(path, length, known.get(path))):
                raise UserError(f"{path} has changed since the last checkpoint: restore it or choose another --out")
        self._close_files()
        for path, length in lengths.items():
            try:
                if length:
                    os.truncate(path, length)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error

    def _leave_nothing(self) -> None:
        """Remove the folder of a new run that was refused before its first step, and the folders made for it."""
        with contextlib.suppress(OSError):
            if {entry.name for entry in self.path.iterdir()} <= {LOCK, *PRELIMINARIES}:
                for name in (*PRELIMINARIES, LOCK):
                    path = self.path / name
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                for folder in self._made:
                    folder.rmdir()

    def _mark(self) -> None:
        """Write into the lock file: a mark that the folder's config was written by a run."""
        assert self._lock is not None
        try:
            os.pwrite(self._lock, b"burnish\n", 0)
        except OSError as error:
            raise cannot_write(self.path / LOCK, error) from error

    def _appended(self, name: str) -> Path:
        if name not in APPENDED:
            raise ValueError(f"{name!r} is not an append-only file: use one of {', '.join(APPENDED)}")
        return self.path / f"{name}.jsonl"

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])


def _look(path: Path, resume: bool) -> bool:
    """Return whether `path` contains a run to resume; raise `UserError` if a run may not use it.

    A run that ended before its first step (because of invalid data, for example) left nothing to resume or to lose.
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
        raise UserError(f"{path} exists and is not empty: use --resume to continue it, or another --out")
    if CONFIG not in found:
        raise UserError(f"{path} does not contain a run to resume: choose another --out")
    for folder, _, _ in os.walk(path):
        refuse_special(folder)
    return True


def _take(lock: int, path: Path) -> None:
    """Lock the folder for this process; the kernel unlocks it when the process ends, however it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(path) from error
    except OSError:
        pass  # A file system without locks: run without one rather than not at all.


def _in_use(path: Path) -> UserError:
    return UserError(f"{path} is in use by another process: wait for it, or choose another --out")


def _gone(path: Path) -> UserError:
    return UserError(f"{path} was removed or replaced while the run was writing it: start again with another --out")
