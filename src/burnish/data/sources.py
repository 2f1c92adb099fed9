"""Loads the user's data set from a file, a folder, the Hugging Face hub, or a Python object.

Local files are read into memory, offline; no files are written next to them.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, DatasetDict

from burnish.data import columns
from burnish.data.files import ENDINGS, read_parquet, read_rows
from burnish.run import UserError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_SPLIT_WORDS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")


def load(
    data: str | Path | Dataset | DatasetDict | Sequence[Any],
    split: str = "train",
    row_limit: int | None = None,
) -> Dataset:
    """The rows of `data`, at most the first `row_limit` of them.

    `data` is a .jsonl, .json, .csv or .parquet file; a folder of such files, or one written by `save_to_disk`; a hub
    name `owner/name`; or a `Dataset`, a `DatasetDict` or a list of dicts. A string may name the split after a colon,
    `owner/name:test`, which overrides `split`. A single file has one split, `train`.

    Raises UserError for a missing or empty file, an unknown file extension, a malformed line, an unknown split, a hub
    name that cannot be loaded, and a data set without rows.
    """
    if row_limit is not None and row_limit < 1:
        raise UserError(f"The row limit is {row_limit}; it must be at least 1.")
    if isinstance(data, DatasetDict):
        name, dataset = "the DatasetDict", _pick(data, split, "the DatasetDict")
    elif isinstance(data, Dataset):
        name, dataset = "the Dataset", data
    elif isinstance(data, str | Path):
        name = str(data)
        dataset = _load_named(name, split, row_limit)
    else:
        name = "the list of rows"
        dataset = rows_to_dataset(_dicts(data, name), name)
    if len(dataset) == 0:
        raise UserError(f"{name} has no rows; use a data set with at least one.")
    if row_limit is not None and row_limit < len(dataset):
        dataset = dataset.select(range(row_limit))
    return dataset


def rows_to_dataset(rows: list[dict[str, Any]], name: str) -> Dataset:
    """The rows as a data set in memory; missing keys become None.

    Columns with objects, or with mixed types (text in one row, a list in the next), are stored as JSON text: read them
    with `columns.column`.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    try:
        return columns.table({key: [row.get(key) for row in rows] for key in keys})
    except UnicodeEncodeError:
        raise UserError(
            f"{name}, row {_broken_text(rows)}: contains an unpaired surrogate, which is not valid Unicode; "
            "fix or remove the row."
        ) from None


def _broken_text(rows: list[dict[str, Any]]) -> int | str:
    for number, row in enumerate(rows):
        try:
            json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            return number
    return "unknown"


def _dicts(rows: Iterable[Any], name: str) -> list[dict[str, Any]]:
    found = list(rows)
    for number, row in enumerate(found):
        if not isinstance(row, dict):
            raise UserError(f"{name}, row {number}: is a {type(row).__name__}, but every row must be a dict.")
    return found


def _load_named(name: str, split: str, row_limit: int | None) -> Dataset:
    path = Path(name).expanduser()
    if not path.exists() and ":" in name:
        base, _, suffix = name.partition(":")
        if suffix:
            name, split, path = base, suffix, Path(base).expanduser()
    if path.is_dir():
        return _load_folder(path, split, row_limit)
    if path.exists():
        if split != "train":
            raise UserError(f"{name} has no split {split!r}; a single file only has the split 'train'.")
        return _load_files([path], row_limit)
    if path.suffix.lower() in ENDINGS or not _HUB_NAME.fullmatch(name):
        raise UserError(f"{name} does not exist; give a file, a folder, or a hub name such as owner/name.")
    return _load_hub(name, split)


def hub_arguments(name: str, split: str) -> dict[str, str]:
    """The arguments of `datasets.load_dataset`, with the split names of data sets that differ from the usual ones."""
    if (
        name == "openai/summarize_from_feedback"
    ):  # its loading script is no longer supported; the hub converted the tables
        return {"path": name, "name": "comparisons", "revision": "refs/convert/parquet", "split": split}
    if name == "HuggingFaceH4/ultrafeedback_binarized":
        return {"path": name, "split": {"train": "train_prefs", "test": "test_prefs"}.get(split, split)}
    return {"path": name, "split": split}


def _load_hub(name: str, split: str) -> Dataset:
    try:
        return datasets.load_dataset(**hub_arguments(name, split))
    except Exception as error:  # the hub's client raises many types; the user needs the name and the reason
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise UserError(
            f"{name} is not a local file or folder, and loading its split {split!r} from the hub failed ({reason}); "
            "check the name and the connection."
        ) from error


def _load_folder(folder: Path, split: str, row_limit: int | None) -> Dataset:
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        try:
            saved = datasets.load_from_disk(str(folder))
        except Exception as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise UserError(f"{folder} cannot be read as a saved data set ({reason}); save it again.") from error
        if isinstance(saved, DatasetDict):
            return _pick(saved, split, str(folder))
        return _pick(DatasetDict({"train": saved}), split, str(folder))
    # A clone of a hub repository keeps its files in data/.
    files = _data_files(folder) or _data_files(folder / "data")
    if not files:
        raise UserError(f"{folder} contains no data files; use a folder with {', '.join(ENDINGS)} files.")
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_SHARD.sub("", file.stem), []).append(file)
    if not any(word in _SPLIT_WORDS for word in splits):
        splits = {"train": files}
    if split not in splits:
        raise UserError(f"{folder} has no split {split!r}; it has {', '.join(sorted(splits))}.")
    return _load_files(splits[split], row_limit)


def _data_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())


def _load_files(paths: list[Path], row_limit: int | None) -> Dataset:
    endings = {path.suffix.lower() for path in paths}
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
