"""Loads the user's data set from a file, a folder, the Hugging Face hub, or a Python object.

Local files are read into memory, offline; no files are written next to them.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict, IterableDataset

from burnish.data import columns
from burnish.data.files import ENDINGS, LONGEST_ROW, TOO_LONG, ending, read_parquet, read_rows
from burnish.data.names import IN_MEMORY, Part, single, text_of, unweighted
from burnish.data.repositories import SPLIT_WORDS, has_configurations, load_repository, plain_files
from burnish.run import UserCodeError, UserError, first_line, refuse_special, user_code

DEEPEST = 100
"""Levels of lists and objects in a cell: messages have three, schemas of tools perhaps twenty."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def load(
    data: Any,
    split: str = "train",
    row_limit: int | None = None,
) -> Dataset:
    """The rows of `data`, at most the first `row_limit` of them.

    `data` is a .jsonl, .json, .csv or .parquet file, the first three also with .gz; a folder of such files, or one
    written by `save_to_disk`; a hub name `owner/name`; a task, `task:NAME`; or a `Dataset`, a `DatasetDict` or an
    iterable of dicts. A string may name after colons a configuration, the split, which overrides `split`, or both:
    `owner/name:math:test`. A single file has one split, `train`.

    Raises UserError for a missing or empty file, an unknown file extension, a malformed line, an unknown configuration
    or split, a hub name that cannot be loaded, a mixture, and a data set without rows.
    """
    if row_limit is not None and row_limit < 1:
        raise UserError(f"The row limit is {row_limit}; it must be at least 1.")
    if isinstance(data, IterableDataset):
        raise UserError("The IterableDataset has no end that is known; set streaming=True and steps.")
    if isinstance(data, DatasetDict):
        name, dataset = "the DatasetDict", _pick(data, split, "the DatasetDict")
    elif isinstance(data, Dataset):
        name, dataset = "the Dataset", data
    elif isinstance(data, str | Path | Part):
        part = data if isinstance(data, Part) else single(str(data))
        name, dataset = part.name, _load_named(part, split, row_limit)
    else:
        name = "the list of rows"
        dataset = rows_to_dataset(_dicts(data, name), name)
    if len(dataset) == 0:
        raise UserError(f"{name} has no rows; use a data set with at least one.")
    if row_limit is not None and row_limit < len(dataset):
        dataset = dataset.select(range(row_limit))
    return dataset


def load_parts(data: Any, row_limit: int | None = None) -> list[tuple[str, Dataset]]:
    """The name and the rows of each part of `data`, at most the first `row_limit` rows together.

    Raises UserError as `load` does, and for weights: every row is read once.
    """
    text = text_of(data)
    if text is None:
        return [(IN_MEMORY, load(data, row_limit=row_limit))]
    found: list[tuple[str, Dataset]] = []
    for part in unweighted(text):
        left = None if row_limit is None else row_limit - sum(len(dataset) for _, dataset in found)
        if left is not None and found and left < 1:
            break
        found.append((part.name, load(part, row_limit=left)))
    return found


def rows_to_dataset(rows: list[dict[str, Any]], name: str) -> Dataset:
    """The rows as a data set in memory; missing keys become None.

    Columns with objects, or with mixed types (text in one row, a list in the next), are stored as JSON text: read them
    with `columns.column`.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    for number, row in enumerate(rows):
        refuse_excess(row, f"{name}, row {number}")
    try:
        return columns.table({key: [row.get(key) for row in rows] for key in keys})
    except UnicodeEncodeError:
        raise UserError(
            f"{name}, row {_broken_text(rows)}: contains an unpaired surrogate, which is not valid Unicode; "
            "fix or remove the row."
        ) from None


def refuse_excess(row: dict[str, Any], where: str) -> None:
    """Raise UserError for a row that is nested more than DEEPEST levels deep, or has a text longer than any row."""
    level: list[Any] = list(row.values())
    for _ in range(DEEPEST):
        if any(isinstance(one, str) and len(one) > LONGEST_ROW for one in level):
            raise UserError(f"{where}: {TOO_LONG}")
        nested = [one for one in level if isinstance(one, dict | list)]
        if not nested:
            return
        level = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
    raise UserError(f"{where}: is nested more than {DEEPEST} levels deep; make it flatter, or remove it.")


def _broken_text(rows: list[dict[str, Any]]) -> int | str:
    for number, row in enumerate(rows):
        try:
            json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            return number
    return "unknown"


def _dicts(rows: Any, name: str) -> list[dict[str, Any]]:
    if isinstance(rows, Mapping) or not (isinstance(rows, Iterable) or hasattr(rows, "__getitem__")):
        raise UserError(
            f"data is a {type(rows).__name__}; give an iterable of rows, each a dict, or a datasets.Dataset."
        )
    found: list[Any] = []
    try:
        with user_code():
            found.extend(rows)
    except UserCodeError as error:
        raise UserError(f"{name}, row {len(found)}: reading it raised {error}; mend the iterable.") from error.cause
    for number, row in enumerate(found):
        if not isinstance(row, dict):
            raise UserError(f"{name}, row {number}: is a {type(row).__name__}, but every row must be a dict.")
    return found


def _load_named(part: Part, split: str, row_limit: int | None) -> Dataset:
    if part.is_task:
        from burnish.data.tasks import stream

        return stream.load(part.name, part.suffixes, row_limit)
    found = located(part, split)
    return _load_files(found, row_limit) if isinstance(found, list) else found


def located(part: Part, split: str = "train", streaming: bool = False) -> Any:
    """The files of a named data set's split, as a list of paths, or the data set where it is not in files that are
    read here: a `Dataset`, or an `IterableDataset` if it is to be streamed.

    Raises UserError if there is no such data set, configuration or split.
    """
    path = part.path
    if path.is_dir():
        return _in_folder(path, part.suffixes, split, streaming)
    if path.exists():
        refuse_special(path)
        if part.suffixes:
            split = part.suffixes[-1]
        if split != "train" or len(part.suffixes) > 1:
            raise UserError(f"{part.base} has no split {split!r}; a single file only has the split 'train'.")
        return [path]
    if ending(path) in ENDINGS or not _HUB_NAME.fullmatch(part.base):
        raise UserError(f"{part.base} does not exist; give a file, a folder, or a hub name such as owner/name.")
    return load_repository(part.base, part.suffixes, split, streaming)


def _in_folder(folder: Path, suffixes: Sequence[str], split: str, streaming: bool) -> Any:
    refuse_special(folder)
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _saved(folder, suffixes, split)
    if has_configurations(folder):
        files = plain_files(folder, suffixes, split)
        return load_repository(str(folder), suffixes, split, streaming) if files is None else files
    return _split_files(folder, suffixes, split)


def _saved(folder: Path, suffixes: Sequence[str], split: str) -> Dataset:
    """A split of what `save_to_disk` wrote."""
    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise UserError(f"{folder} cannot be read as a saved data set ({first_line(error)}); save it again.") from error
    _refuse_configuration(folder, suffixes)
    splits = saved if isinstance(saved, DatasetDict) else DatasetDict({"train": saved})
    return _pick(splits, suffixes[0] if suffixes else split, str(folder))


def _split_files(folder: Path, suffixes: Sequence[str], split: str) -> list[Path]:
    """The files of a split: named like it, in a subfolder named like it, or all files where nothing names splits.

    Other subfolders are configurations.
    """
    if suffixes and suffixes[0] not in SPLIT_WORDS and (folder / suffixes[0]).is_dir():
        return _split_files(folder / suffixes[0], suffixes[1:], split)
    splits: dict[str, list[Path]] = {}
    # A clone of a hub repository keeps its files in data/.
    for file in _data_files(folder) or _data_files(folder / "data"):
        splits.setdefault(_SHARD.sub("", file.name[: -len(ending(file))]), []).append(file)
    below = {} if splits else {sub.name: sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _has_data(sub)}
    if not splits and not below:
        raise UserError(f"{folder} contains no data files; use a folder with {', '.join(ENDINGS)} files.")
    if below.keys() & set(SPLIT_WORDS):
        splits = {name: _data_files(sub) for name, sub in below.items()}
    elif below:
        if suffixes and suffixes[0] not in SPLIT_WORDS:
            raise UserError(f"{folder} has no configuration {suffixes[0]!r}; it has {', '.join(below)}.")
        if len(below) > 1:
            first = f"{folder}:{next(iter(below))}:{suffixes[0] if suffixes else split}"
            raise UserError(f"{folder} needs a configuration, as in {first}; it has {', '.join(below)}.")
        return _split_files(next(iter(below.values())), suffixes, split)
    _refuse_configuration(folder, suffixes)
    split = suffixes[0] if suffixes else split
    if not any(word in SPLIT_WORDS for word in splits):
        splits = {"train": [file for files in splits.values() for file in files]}
    if split not in splits:
        raise UserError(f"{folder} has no split {split!r}; it has {', '.join(sorted(splits))}.")
    return splits[split]


def _refuse_configuration(folder: Path, suffixes: Sequence[str]) -> None:
    if len(suffixes) > 1:
        raise UserError(f"{folder} has no configuration {suffixes[0]!r}; name only the split, {folder}:{suffixes[-1]}.")


def _data_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if ending(file) in ENDINGS and file.is_file())


def _has_data(folder: Path) -> bool:
    return not folder.name.startswith(".") and any(ending(file) in ENDINGS for file in folder.rglob("*"))


def _load_files(paths: list[Path], row_limit: int | None) -> Dataset:
    endings = {ending(path) for path in paths}
    if len(endings) > 1:
        raise UserError(
            f"{paths[0].parent} mixes {' and '.join(sorted(endings))} files; keep only one type per folder."
        )
    if endings == {".parquet"}:
        return read_parquet(paths, row_limit)
    rows: list[dict[str, Any]] = []
    for path in paths:
        left = None if row_limit is None else row_limit - len(rows)
        if left == 0:
            break
        rows.extend(read_rows(path, left))
    return rows_to_dataset(rows, str(paths[0]) if len(paths) == 1 else str(paths[0].parent))


def _pick(splits: DatasetDict, split: str, name: str) -> Dataset:
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; it has {', '.join(sorted(splits))}.")
    return splits[split]
