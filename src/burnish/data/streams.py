"""Rows of data that are too large for memory, one after the other, from any row on.

Files are .jsonl or .parquet; data sets on the hub are streamed by `datasets.load_dataset(..., streaming=True)`.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, IterableDataset

from burnish.data.files import limited_lines, parse_object
from burnish.data.names import Part
from burnish.data.sources import located
from burnish.run import UserError, first_line

Rows = Callable[[int], Iterator[dict[str, Any]]]
"""The rows of a data set in its order, from a row on."""

_BATCH = 1000


def stream(data: Part | IterableDataset) -> tuple[Rows, int | None]:
    """The rows of a data set, and the bytes of its files if they are local.

    Raises UserError for data that do not exist, and for files that can only be read whole.
    """
    found = located(data, streaming=True) if isinstance(data, Part) else data
    if isinstance(found, IterableDataset):
        return (lambda start: _remote(found, start)), None
    if isinstance(found, Dataset):  # in Arrow files, of which only the rows that are used are in memory
        saved = found.with_format(None)
        return (lambda start: (saved[row] for row in range(start, len(saved)))), None
    for file in found:
        if file.suffix.lower() not in _READERS:
            raise UserError(f"{file} cannot be streamed; use .jsonl or .parquet files, or leave out --streaming.")
    return (lambda start: _rows(found, start)), sum(file.stat().st_size for file in found)


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
            start = yield from _READERS[file.suffix.lower()](file, start)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{file} cannot be read ({first_line(error)}); restore it.") from error


def _jsonl(path: Path, start: int) -> Generator[dict[str, Any], None, int]:
    """The file's rows after the first `start`; returns how many of these are in later files."""
    with path.open("rb") as file:
        for number, line in enumerate(limited_lines(file, str(path)), 1):
            if not line.strip():
                continue
            if start:
                start -= 1
            else:
                yield parse_object(line, f"{path}, line {number}")
    return start


def _parquet(path: Path, start: int) -> Generator[dict[str, Any], None, int]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if start >= count:
                start -= count
                continue
            rows = (row for batch in file.iter_batches(_BATCH, row_groups=[group]) for row in batch.to_pylist())
            yield from islice(rows, start, None)
            start = 0
    return start


_READERS = {".jsonl": _jsonl, ".parquet": _parquet}
