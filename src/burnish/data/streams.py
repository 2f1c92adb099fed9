"""Rows of data that are too large for memory, one after the other, from any row on.

Files are .jsonl, .csv (also compressed with gzip) or .parquet; data sets on the hub are streamed by
`datasets.load_dataset(..., streaming=True)`.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, IterableDataset

from burnish.data.files import (
    BROKEN,
    Doubled,
    csv_rows,
    ending,
    limited_lines,
    opened,
    parse_object,
    refuse_long_cells,
)
from burnish.data.labels import VOTES
from burnish.data.names import Part
from burnish.data.sources import located
from burnish.run import UserError, first_line

Rows = Callable[[int], Iterator[dict[str, Any]]]
"""The rows of a data set in its order, from a row on."""

PIECE, MOST_READ = 2**20, 2**30
_BATCH = 1000


@dataclass
class Table:
    """A data set that is read row by row: `rows` from any row on; `files` are its local files, and `length` is the
    number of its rows where that is known without reading it."""

    rows: Rows
    files: Sequence[Path] = ()
    length: int | None = None
    _seen: list[tuple[int, int]] = field(init=False)
    _digest: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._seen = self._stamps()

    def count(self) -> int | None:
        """The number of rows; None for data on the hub. Text files are read for it, but no row is parsed."""
        if self.length is not None or not self.files:
            return self.length
        return sum(map(_count, self.files))

    def digest(self) -> str | None:
        """SHA-256 of the local files: of every n-th MiB, with the smallest n for which at most 1 GiB is read."""
        if self._digest is None and self.files:
            self._digest = digest(self.files)
        return self._digest

    def check(self) -> None:
        """Raise UserError if a file is no longer what it was when its reading began."""
        before, now = self._seen, self._stamps()
        if now == before:
            return
        sizes = [[size for size, _ in stamps] for stamps in (before, now)]
        if sizes[0] != sizes[1] or (self._digest is not None and digest(self.files) != self._digest):
            number = next(i for i, (one, other) in enumerate(zip(before, now, strict=True)) if one != other)
            raise UserError(f"{self.files[number]} was changed while it was being read; restore it.")
        self._seen = now

    def _stamps(self) -> list[tuple[int, int]]:
        return [(one.st_size, one.st_mtime_ns) for one in map(_state, self.files)]


def _state(file: Path) -> Any:
    try:
        return file.stat()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); restore it.") from error


def digest(files: Sequence[Path]) -> str:
    """See `Table.digest`."""
    every = max(1, -(-sum(file.stat().st_size for file in files) // MOST_READ))
    found = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        found.update(size.to_bytes(8))
        with path.open("rb") as file:
            for start in range(0, size, every * PIECE):
                file.seek(start)
                found.update(file.read(PIECE))
    return found.hexdigest()


def stream(data: Part | IterableDataset) -> Table:
    """A data set whose rows are read one by one.

    Raises UserError for data that do not exist, and for files that can only be read whole.
    """
    found = located(data, streaming=True) if isinstance(data, Part) else data
    if isinstance(found, IterableDataset):
        return Table(lambda start: _remote(found, start))
    if isinstance(found, Dataset):  # in Arrow files, of which only the rows that are used are in memory
        saved = found.with_format(None)
        files = [Path(one["filename"]) for one in saved.cache_files]
        return Table(lambda start: (saved[row] for row in range(start, len(saved))), files, len(saved))
    for file in found:
        if ending(file) not in _READERS:
            known = ", ".join(_READERS)
            raise UserError(f"{file} cannot be streamed; use {known} files, or leave out --streaming.")
    return Table(lambda start: _rows(found, start), found)


def large(parts: Sequence[Part], size: int) -> bool:
    """Whether local data that can be streamed have more than `size` bytes; rated responses and votes
    cannot."""
    local = [part for part in parts if part.path.exists()]
    found = [located(part, streaming=True) for part in local]
    if len(local) < len(parts) or any(isinstance(files, IterableDataset) for files in found):
        return False
    if any(not isinstance(one, Dataset) and any(ending(file) not in _READERS for file in one) for one in found):
        return False
    tables = [stream(part) for part in local]
    return sum(file.stat().st_size for one in tables for file in one.files) > size and not any(
        columns <= next(one.rows(0), {}).keys() for one in tables for columns in ({"prompt", "response"}, {*VOTES})
    )


def _remote(found: IterableDataset, start: int) -> Iterator[dict[str, Any]]:
    """The rows of a streamed data set; any error in reading it, of the network as well, becomes a UserError."""
    number = start
    try:
        for row in found.skip(start):
            yield row
            number += 1
    except Exception as error:
        raise UserError(
            f"row {number} of the streamed data cannot be read ({first_line(error)}); try again."
        ) from error


def _rows(files: Sequence[Path], start: int) -> Iterator[dict[str, Any]]:
    for file in files:
        try:
            start = yield from _READERS[ending(file)](file, start)
        except (OSError, pa.ArrowException, *BROKEN) as error:
            raise UserError(f"{file} cannot be read ({first_line(error)}); restore it.") from error


def _jsonl(path: Path, start: int) -> Generator[dict[str, Any], None, int]:
    """The file's rows after the first `start`; returns how many of these are in later files."""
    doubled = Doubled()
    with opened(path) as file:
        for number, line in enumerate(limited_lines(file, str(path)), 1):
            if not line.strip():
                continue
            if start:
                start -= 1
                continue
            before, doubled.where = doubled.count, f"{path}, line {number}"
            row = parse_object(line, doubled.where, doubled)
            if doubled.count > before == 0:
                doubled.warn()
            yield row
    return start


def _csv(path: Path, start: int) -> Generator[dict[str, Any], None, int]:
    for row in csv_rows(path):
        if start:
            start -= 1
        else:
            yield row
    return start


def _parquet(path: Path, start: int) -> Generator[dict[str, Any], None, int]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if start >= count:
                start -= count
                continue
            yield from islice(_group(file, path, group), start, None)
            start = 0
    return start


def _group(file: pq.ParquetFile, path: Path, group: int) -> Iterator[dict[str, Any]]:
    first = sum(file.metadata.row_group(before).num_rows for before in range(group))
    for batch in file.iter_batches(_BATCH, row_groups=[group]):
        refuse_long_cells(batch, path, first)
        yield from batch.to_pylist()
        first += len(batch)


def _count(path: Path) -> int:
    try:
        return _COUNTERS[ending(path)](path)
    except (OSError, pa.ArrowException, *BROKEN) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}); restore it.") from error


def _count_lines(path: Path) -> int:
    with opened(path) as file:
        return sum(1 for line in limited_lines(file, str(path)) if line.strip())


def _count_cells(path: Path) -> int:
    return sum(1 for _ in csv_rows(path))


_READERS = {".jsonl": _jsonl, ".jsonl.gz": _jsonl, ".csv": _csv, ".csv.gz": _csv, ".parquet": _parquet}
_COUNTERS: dict[str, Callable[[Path], int]] = {
    ".jsonl": _count_lines,
    ".jsonl.gz": _count_lines,
    ".csv": _count_cells,
    ".csv.gz": _count_cells,
    ".parquet": lambda path: pq.read_metadata(path).num_rows,
}
