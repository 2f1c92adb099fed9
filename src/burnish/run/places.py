"""Where results go: an `--out` that cannot be written is refused before anything is computed."""

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from burnish.run.atomic import UserError, cannot_write

OTHER = "choose another --out"


def writable_folder(path: str | Path) -> Path:
    """The folder, made if it does not exist. Raises UserError where nothing can be written in it."""
    path = Path(path)
    refuse_dangling(path)
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file: {OTHER}")
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # root may write anywhere but on a read-only file system
            pass
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, OTHER) from error
    return path


@contextlib.contextmanager
def results_folder(path: Path | None, names: Collection[str]) -> Iterator[None]:
    """Make the folder in which the block writes the files `names`, as `writable_folder` does; None: nothing is written.

    If the block raises, those files that were not there before are removed, and the folders made for them.
    """
    if path is None:
        yield
        return
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        new = [path / name for name in names if not (path / name).exists()]
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, OTHER) from error
    try:
        writable_folder(path)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for file in new:
                file.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        raise


def writable_file(path: str | Path) -> Path:
    """The file's path, with its folder made. Raises UserError where no file of this name can be written."""
    path = Path(path)
    refuse_dangling(path)
    try:
        if path.is_dir():
            raise UserError(f"--out {path} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            raise UserError(f"--out {path} is a device, a FIFO or a socket: name a file")
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, OTHER) from error
    writable_folder(path.parent)
    return path


def companion(path: str | Path, ending: str) -> Path:
    """The file that belongs to a JSONL file and lies beside it: `labels.calls.jsonl` to `labels.jsonl`."""
    path = Path(path)
    return path.with_name(path.name.removesuffix(".jsonl") + ending)


def refuse_dangling(path: Path) -> None:
    """Raise UserError for a link to something that does not exist."""
    try:
        dangling = path.is_symlink() and not path.exists()
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, OTHER) from error
    if dangling:
        raise UserError(f"{path} is a link to {os.readlink(path)}, which does not exist: {OTHER}")
