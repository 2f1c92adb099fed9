"""Atomic writes: files and folders are complete or absent, whenever the writer is killed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

NEW = ".burnish-new-"
"""Name prefix of files and folders that are being written or removed."""

OLD = ".burnish-old-"
"""Name prefix of a folder while its replacement takes its place."""


class UserError(Exception):
    """A user's mistake, explained in one sentence that names the file, row or key and says what to do."""


def sync(path: Path) -> None:
    """Wait until `path`, a file or a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


ADVICE = "make room there or choose another --out"


def cannot_write(path: Path, error: BaseException, advice: str = ADVICE) -> UserError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return UserError(f"{path} cannot be written ({reason}): {advice}")


def is_of_the_disk(error: BaseException) -> bool:
    """Whether a library that was writing met an error of the disk; tokenizers raises it as a bare Exception."""
    return isinstance(error, OSError | SafetensorError) or (type(error) is Exception and "(os error " in str(error))


def make_folder(path: Path) -> None:
    """Make a folder with its parents, if it is not there. Raises `UserError` if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made ({error.strerror}): choose another --out") from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`; a reader, or a kill, finds the old file or the new one, never half.

    Raises `UserError` if writing fails; the old file is then unchanged.
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


def unfinished(final: Path) -> Path:
    """The folder that `save_folder_atomically` yields for this one."""
    return final.with_name(NEW + final.name)


@contextlib.contextmanager
def save_folder_atomically(final: Path, advice: str = ADVICE) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `final` if the block succeeds and is removed if it raises.

    An existing `final` is replaced. A kill between the two renames of a replacement leaves the old folder under
    another name; `clean_leftovers` or the next save restores it. One writer at a time.

    Raises `UserError` with the `advice` if writing fails, also for write errors inside the block.
    """
    new, old = unfinished(final), final.with_name(OLD + final.name)
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
    except Exception as error:
        if is_of_the_disk(error):
            raise cannot_write(final, error, advice) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            _remove(new)
            _put_back(old)


def remove_folder_atomically(path: Path) -> None:
    """Remove a folder; a kill leaves all of it or nothing."""
    trash = path.with_name(NEW + path.name)
    try:
        _remove(trash)
        path.rename(trash)
        _remove(trash)
    except OSError as error:
        raise cannot_write(path, error) from error


def clean_leftovers(folder: Path) -> None:
    """Remove the unfinished files of killed writers in `folder`, and complete or undo interrupted replacements.

    Only for the one process that writes there: another writer's unfinished files look the same. Raises `UserError` if
    one cannot be removed.
    """
    try:
        for path in sorted(folder.glob(f"{OLD}*")):
            _put_back(path)
        for path in sorted(folder.glob(f"{NEW}*")):
            _remove(path)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _put_back(old: Path) -> None:
    """Rename a folder that was moved out of the way back, or remove it if its replacement exists."""
    final = old.with_name(old.name.removeprefix(OLD))
    if old.exists() and not final.exists():
        old.rename(final)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
