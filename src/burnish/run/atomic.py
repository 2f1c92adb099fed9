"""Files and folders that are complete or absent, whenever the writer is killed: written beside, synced, renamed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

NEW = ".burnish-new-"
"""Begins the name of what is being written, or of what is on its way out."""

OLD = ".burnish-old-"
"""Begins the name of a folder while its successor takes its place."""


class UserError(Exception):
    """A mistake of the user's that one sentence explains: it names the file, row or key and says what to do."""


def sync(path: Path) -> None:
    """Wait until `path`, a file or a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: BaseException) -> UserError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return UserError(f"{path} cannot be written ({reason}): make room there or choose another --out")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`, so that a reader or a kill sees the old file or the new, never half.

    Raises `UserError` where the disk refuses; the old file is then untouched.
    """
    temporary = path.with_name(f"{NEW}{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def save_folder_atomically(final: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `final` when the block ends well and vanishes when it does not.

    A `final` that exists is replaced. A kill between the two renames of a replacement leaves the old folder under
    another name, from which `clean_leftovers`, or the next save, puts it back. One writer at a time.

    Raises `UserError` where the disk refuses, also for the errors that the block itself meets in writing.
    """
    new, old = final.with_name(NEW + final.name), final.with_name(OLD + final.name)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _put_back(old)
        _remove(new)
        new.mkdir()
        yield new
        for folder, _, files in os.walk(new, topdown=False):
            for name in files:
                sync(Path(folder, name))
            sync(Path(folder))
        if final.exists():
            final.rename(old)
        new.rename(final)
        sync(final.parent)
        _remove(old)
    except (OSError, SafetensorError) as error:
        raise cannot_write(final, error) from error
    finally:
        with contextlib.suppress(OSError):
            _remove(new)
            _put_back(old)


def remove_folder_atomically(path: Path) -> None:
    """Remove a folder so that a kill leaves it whole or gone, never with half of its files."""
    trash = path.with_name(NEW + path.name)
    try:
        _remove(trash)
        path.rename(trash)
        _remove(trash)
    except OSError as error:
        raise cannot_write(path, error) from error


def clean_leftovers(folder: Path) -> None:
    """Remove what killed writers left half-done in `folder`, and finish what they had all but finished.

    Only for the one process that writes there: another writer's unfinished work looks the same.
    """
    for path in sorted(folder.glob(f"{OLD}*")):
        _put_back(path)
    for path in sorted(folder.glob(f"{NEW}*")):
        _remove(path)


def _put_back(old: Path) -> None:
    """Give a folder that was moved out of the way its name again, or remove it where its successor has the name."""
    final = old.with_name(old.name.removeprefix(OLD))
    if old.exists() and not final.exists():
        old.rename(final)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
