"""A file that is written record by record, and complete or absent under its own name."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.run.atomic import UserError, cannot_write, sync

PART = ".part"
"""What the name of an unfinished file ends with."""


@contextmanager
def growing_jsonl(path: str | Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes one record to `path`.part, which becomes `path` if the block succeeds.

    If the block raises, the file with the records that were ready stays under the name `path`.part; one without any is
    removed. Nothing is written without a path. Raises UserError if writing fails.
    """
    if path is None:
        yield lambda record: None
        return
    final = Path(path)
    part = final.with_name(final.name + PART)
    try:
        file = part.open("w", encoding="utf-8")
    except OSError as error:
        raise cannot_write(final, error) from error
    count = 0

    def write(record: dict[str, Any]) -> None:
        nonlocal count
        try:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
        except OSError as error:
            raise cannot_write(final, error) from error
        count += 1

    try:
        with file:
            yield write
        sync(part)
        part.replace(final)
        sync(final.parent)
    except OSError as error:
        raise cannot_write(final, error) from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"the first {count} rows are in {part}") from error
    except UserError as error:
        if count:
            error.args = (f"{error}; the {count} rows before it are in {part}",)
        raise
    finally:
        if not count:
            part.unlink(missing_ok=True)
