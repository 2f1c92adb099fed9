"""Lines of the append-only files of a run."""

import json
import math
import os
from pathlib import Path
from typing import Any

from burnish.run.atomic import UserError


def encoded(record: dict[str, Any]) -> bytes:
    """A record as a line of an append-only file."""
    text = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # Half a surrogate pair, which JSON can only represent as an ASCII escape.
        return (json.dumps(_finite(record), allow_nan=False) + "\n").encode()


def write_whole(descriptor: int, line: bytes) -> None:
    """Append the whole `line`, or nothing if writing fails."""
    before = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def ends_line(path: Path, length: int) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(length - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): restore it or choose another --out") from error


def _finite(value: Any) -> Any:
    """`value` with None for every number that JSON cannot represent."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
