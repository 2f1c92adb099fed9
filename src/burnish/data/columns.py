"""Columns of nested or mixed cells, which a table would change.

Arrow stores the objects of a column as one struct: each gets the keys of all others, filled with null. Such a column is
stored as JSON text instead, so that every cell comes back as its row gave it.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, Value

KEY = "burnish_json"
TEXT = {KEY: Value("large_string")}
"""The type of a column of JSON text. The JSON type of datasets itself rounds numbers, and reads the text "42" as 42."""


def table(columns: dict[str, list[Any]]) -> Dataset:
    """The columns as a data set in memory, with JSON text for those that Arrow would change or cannot hold.

    Raises UnicodeEncodeError for text that is not valid Unicode.
    """
    texts = {name: encoded for name, cells in columns.items() if (encoded := _encoded(cells)) is not None}
    plain = Dataset.from_dict({name: cells for name, cells in columns.items() if name not in texts})
    if not texts:
        return plain
    types = Features({name: TEXT if name in texts else plain.features[name] for name in columns})
    return Dataset.from_dict(columns | texts, features=types)


def column(dataset: Dataset, name: str) -> list[Any]:
    """The cells of a column as their rows gave them."""
    return [cell for (cell,) in rows_of(dataset, (name,))]


def rows_of(dataset: Dataset, names: Sequence[str], size: int = 1000) -> Iterator[tuple[Any, ...]]:
    """The cells of each row in these columns, as the row gave them, read `size` rows at a time."""
    read = [_decoded if dataset.features[name] == TEXT else without_nulls for name in names]
    for batch in dataset.with_format(None).select_columns(list(names)).iter(batch_size=size):
        yield from zip(*(map(one, batch[name]) for one, name in zip(read, names, strict=True)), strict=True)


def without_nulls(cell: Any) -> Any:
    """A cell whose objects lack the keys that are null, which Arrow adds where another row has them."""
    if isinstance(cell, dict):
        return {key: without_nulls(value) for key, value in cell.items() if value is not None}
    return [without_nulls(value) for value in cell] if isinstance(cell, list) else cell


def _encoded(cells: Sequence[Any]) -> list[dict[str, str] | None] | None:
    """The cells as JSON text if a table would change them; None if it would not, or if JSON cannot hold them."""
    if not any(map(_has_objects, cells)) and _fits(cells):
        return None
    try:
        return [None if cell is None else {KEY: json.dumps(cell, ensure_ascii=False)} for cell in cells]
    except (TypeError, ValueError):
        return None


def _decoded(cell: dict[str, str] | None) -> Any:
    return None if cell is None else json.loads(cell[KEY])


def _has_objects(cell: Any) -> bool:
    return isinstance(cell, dict) or (isinstance(cell, list | tuple) and any(map(_has_objects, cell)))


def _fits(cells: Sequence[Any]) -> bool:
    try:
        pa.array(cells)
    except UnicodeEncodeError:
        raise
    except (pa.ArrowException, ValueError, TypeError, OverflowError):  # cells of different types
        return False
    return True
