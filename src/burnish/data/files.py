"""Readers for single data files: JSON Lines, JSON, CSV and Parquet, and the first three compressed with gzip."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset

from burnish.run import UserError, first_line, warn

PACKED = ".gz"
ENDINGS = (".jsonl", ".json", ".csv", ".parquet", *(f"{text}{PACKED}" for text in (".jsonl", ".json", ".csv")))

LONGEST_ROW = 2**23
"""The most bytes of a row: 8 MiB are about two million tokens, more than a model is trained on at once."""

BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a damaged compressed file raises."""

TOO_LONG = f"is longer than {LONGEST_ROW // 2**20} MiB, the most that a row may have; split it into several rows."


def ending(path: Path) -> str:
    """The ending of a file's name, in lower case; of a compressed file with what stands before it: ".jsonl.gz"."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == PACKED else last


def opened(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """The bytes of a file, unpacked if it is compressed."""
    return gzip.open(path) if path.suffix.lower() == PACKED else path.open("rb")


def read_rows(path: Path, row_limit: int | None = None) -> list[dict[str, Any]]:
    """The first `row_limit` rows (all if None) of a .jsonl, .json or .csv file, compressed or not.

    Raises UserError for an unknown file extension, an empty or unreadable file, and a malformed line, whose number
    counts from 1.
    """
    kind = ending(path).removesuffix(PACKED)
    readers = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv}
    if kind not in readers:
        raise UserError(f"{path}: unknown file type {ending(path)!r}; use a file that ends in {', '.join(ENDINGS)}.")
    _refuse_empty(path)
    try:
        return readers[kind](path, row_limit)
    except BROKEN as error:
        raise UserError(f"{path} cannot be unpacked ({first_line(error)}); compress it again.") from error


def read_parquet(paths: list[Path], row_limit: int | None = None) -> Dataset:
    """The concatenated rows of Parquet files. Raises UserError if one cannot be read or the columns' types differ."""
    tables: list[pa.Table] = []
    left = row_limit
    for path in paths:
        _refuse_empty(path)
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"{path} is not a readable Parquet file ({first_line(error)}); save it again.") from error
        tables.append(table if left is None else table.slice(0, left))
        refuse_long_cells(tables[-1], path)
        left = None if left is None else left - len(tables[-1])
        if left == 0:
            break
    try:
        return Dataset(pa.concat_tables(tables, promote_options="default"))
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{paths[0].parent}: the columns of its files differ in type ({first_line(error)}).") from error


def refuse_long_cells(table: pa.Table | pa.RecordBatch, path: Path, first: int = 0) -> None:
    """Raise UserError for a text that is longer than any row. `first` is the number of the table's first row."""
    if table.nbytes <= LONGEST_ROW:
        return
    for name, column in zip(table.column_names, table.columns, strict=True):
        if longest_text(column) > LONGEST_ROW:
            row = next(row for row in range(len(column)) if longest_text(column.slice(row, 1)) > LONGEST_ROW)
            raise UserError(f"{path}, row {first + row}: its column `{name}` {TOO_LONG}")


def longest_text(column: pa.Array | pa.ChunkedArray) -> int:
    """The bytes of the longest text in a column, of lists and structures too."""
    if isinstance(column, pa.ChunkedArray):
        return max(map(longest_text, column.chunks), default=0)
    kind = column.type
    if any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string)):
        return pc.max(pc.binary_length(column)).as_py() or 0
    if any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return longest_text(column.flatten())
    if pa.types.is_struct(kind):
        return max(map(longest_text, column.flatten()), default=0)
    return longest_text(column.dictionary_decode()) if pa.types.is_dictionary(kind) else 0


def _read_jsonl(path: Path, row_limit: int | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    doubled = Doubled()
    with opened(path) as file:
        for number, line in enumerate(limited_lines(file, str(path)), 1):
            if row_limit is not None and len(rows) == row_limit:
                break
            if line.strip():
                doubled.where = f"{path}, line {number}"
                rows.append(parse_object(line, doubled.where, doubled))
    doubled.warn()
    return rows


def limited_lines(file: io.BufferedIOBase, name: str) -> Iterator[bytes]:
    """The lines of a file. Raises UserError for one that is longer than any row, before it is in memory."""
    for number in count(1):
        line = file.readline(LONGEST_ROW + 1)
        if len(line) > LONGEST_ROW:
            raise UserError(f"{name}, line {number}: {TOO_LONG}")
        if not line:
            return
        yield line


class Doubled:
    """Makes the objects of a JSON text, and remembers the keys that one has twice, of which the last value counts."""

    def __init__(self, where: str = "") -> None:
        self.where, self.first, self.count = where, "", 0

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            again = next(name for place, name in enumerate(names) if name in names[:place])
            self.first = self.first or f"{self.where}: the key `{again}` is given twice in one object"
            self.count += 1
        return found

    def warn(self) -> None:
        if self.count:
            others = f", as in {self.count - 1:,} other objects" if self.count > 1 else ""
            warn(f"{self.first}{others}; the last value is used.")


def parse_object(text: bytes, where: str, made: Callable[[list[tuple[str, Any]]], Any] | None = None) -> dict[str, Any]:
    """One line of a .jsonl file; `made` makes its objects. Raises UserError, with the place, where it is not a JSON
    object."""
    try:
        value = json.loads(text, object_pairs_hook=made)
    except RecursionError as error:
        raise UserError(f"{where}: is nested too deeply; make it flatter, or remove it.") from error
    except ValueError as error:
        raise UserError(f"{where}: is not valid JSON ({first_line(error)}); fix or remove it.") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: is a JSON {_json_kind(value)}, but every row must be an object with named columns.")
    return value


def _read_json(path: Path, row_limit: int | None) -> list[dict[str, Any]]:
    try:
        doubled = Doubled(str(path))
        with opened(path) as file:
            value = json.loads(file.read(), object_pairs_hook=doubled)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # several values: JSON Lines under another name
            return _read_jsonl(path, row_limit)
        raise UserError(f"{path}, line {error.lineno}: is not valid JSON ({error.msg}); fix the file.") from error
    except RecursionError as error:
        raise UserError(f"{path}: is nested too deeply; make it flatter.") from error
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({first_line(error)}); fix the file.") from error
    doubled.warn()
    rows = [value] if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise UserError(f"{path}: is a JSON {_json_kind(value)}, but it must be a list of objects.")
    for number, row in enumerate(rows[:row_limit]):
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: is a JSON {_json_kind(row)}, but every row must be an object.")
    return rows[:row_limit]


def _read_csv(path: Path, row_limit: int | None) -> list[dict[str, Any]]:
    return list(islice(csv_rows(path), row_limit))


def csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file, one after the other. Raises UserError, with the line, where it is not valid."""
    # The standard reader keeps every cell as text; data-frame readers convert "NA", "None" and "007".
    previous_limit = csv.field_size_limit(LONGEST_ROW)
    try:
        with io.TextIOWrapper(opened(path), encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise UserError(f"{path}, line 1: two columns have the same name; rename one of them.")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: has {len(cells)} cells, but the header has {len(header)}; "
                        "quote cells that contain commas."
                    )
                yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: is not valid CSV ({error}); fix it.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    finally:
        csv.field_size_limit(previous_limit)


def _refuse_empty(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    if size == 0:
        raise UserError(f"{path} is empty; use a file with at least one row.")


def _json_kind(value: object) -> str:
    kinds = {list: "list", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)
