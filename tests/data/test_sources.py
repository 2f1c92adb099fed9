"""Where data may lie: files, folders, saved data sets, Python's own; splits; nothing is written beside the data."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from burnish.data import sources
from burnish.data.columns import column
from burnish.data.sources import load, rows_to_dataset
from burnish.run import UserError

ROWS = [{"prompt": "The sky is", "completion": " blue."}, {"prompt": "The grass is", "completion": " green."}]


def lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_rows_from_every_kind_of_file(tmp_path):
    lines(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text("prompt,completion\nThe sky is, blue.\nThe grass is, green.\n")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "splits")
    before = everything(tmp_path)
    for name in ("a.jsonl", "a.json", "a.csv", "a.parquet", "saved", "splits"):
        assert load(tmp_path / name).to_list() == ROWS
        assert load(str(tmp_path / name), row_limit=1).to_list() == ROWS[:1]
        assert load(tmp_path / name, row_limit=9).to_list() == ROWS
    assert everything(tmp_path) == before


def test_python_data():
    dataset = Dataset.from_list(ROWS)
    assert load(dataset).to_list() == ROWS
    assert load(DatasetDict({"train": dataset, "test": dataset.select([1])}), split="test").to_list() == ROWS[1:]
    assert load(ROWS, row_limit=1).to_list() == ROWS[:1]


def test_columns_are_all_rows_keys_not_only_the_first_ones():
    assert load([{"text": "a"}, {"text": "b", "source": "x"}]).to_list() == [
        {"text": "a", "source": None},
        {"text": "b", "source": "x"},
    ]


def test_mixed_and_nested_columns(tmp_path):
    rows = [
        {"prompt": "plain", "completion": "text", "note": 1},
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Ho"}]},
        {"prompt": "plain", "completion": "text", "note": {"deep": [1, "two"]}},
    ]
    found = load(lines(tmp_path / "a.jsonl", rows))
    assert column(found, "prompt") == [row["prompt"] for row in rows]
    assert column(found, "completion") == [row["completion"] for row in rows]
    assert column(found, "note") == [1, None, {"deep": [1, "two"]}]


def test_conversations(tmp_path):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    found = load(lines(tmp_path / "a.jsonl", [{"messages": messages}, {"messages": messages * 2}]))
    assert column(found, "messages") == [messages, messages * 2]


def test_a_folder_of_splits(tmp_path):
    lines(tmp_path / "train-00000-of-00002.jsonl", ROWS[:1])
    lines(tmp_path / "train-00001-of-00002.jsonl", ROWS[1:])
    lines(tmp_path / "test.jsonl", ROWS[1:])
    assert load(tmp_path).to_list() == ROWS
    assert load(tmp_path, row_limit=1).to_list() == ROWS[:1]
    assert load(tmp_path, split="test").to_list() == ROWS[1:]
    assert load(f"{tmp_path}:test").to_list() == ROWS[1:]
    with pytest.raises(UserError, match="has no split 'validation'; it has test, train"):
        load(tmp_path, split="validation")


def test_a_folder_without_splits_is_all_train_and_a_clone_keeps_its_files_in_data(tmp_path):
    lines(tmp_path / "data" / "part1.jsonl", ROWS[:1])
    lines(tmp_path / "data" / "part2.jsonl", ROWS[1:])
    (tmp_path / "README.md").write_text("nothing")
    assert load(tmp_path).to_list() == ROWS
    with pytest.raises(UserError, match="has no split 'test'; it has train"):
        load(tmp_path, split="test")


def test_a_saved_dictionary_of_splits(tmp_path):
    DatasetDict({"train": Dataset.from_list(ROWS), "dev": Dataset.from_list(ROWS[:1])}).save_to_disk(tmp_path / "d")
    assert load(f"{tmp_path}/d:dev").to_list() == ROWS[:1]
    with pytest.raises(UserError, match="has no split 'test'; it has dev, train"):
        load(tmp_path / "d", split="test")


def test_one_sentence_for_each_mistake(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "blank.jsonl").write_text("\n\n")
    (tmp_path / "head.csv").write_text("text\n")
    (tmp_path / "folder").mkdir()
    lines(tmp_path / "a.jsonl", ROWS)
    lines(tmp_path / "mixed" / "a.jsonl", ROWS)
    (tmp_path / "mixed" / "b.csv").write_text("text\none\n")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    for data, sentence in [
        (tmp_path / "none.jsonl", "none.jsonl does not exist"),
        ("nothing", "nothing does not exist; give a file, a folder, or a hub name"),
        (tmp_path / "empty.jsonl", "empty.jsonl is empty"),
        (tmp_path / "blank.jsonl", "blank.jsonl has no rows"),
        (tmp_path / "head.csv", "head.csv has no rows"),
        (tmp_path / "folder", "folder contains no data files"),
        (tmp_path / "mixed", "mixes .csv and .jsonl files"),
        (tmp_path / "saved", "cannot be read as a saved data set"),
        (f"{tmp_path}/a.jsonl:test", "a.jsonl has no split 'test'; a single file only has the split 'train'"),
        ([], "the list of rows has no rows"),
        (["text"], "the list of rows, row 0: is a str"),
        ([{"text": "fine"}, {"text": "\ud83d"}], "the list of rows, row 1: contains an unpaired surrogate"),
        ([{"messages": [{"role": "user", "content": "\ud83d"}]}], "row 0: contains an unpaired surrogate"),
    ]:
        with pytest.raises(UserError) as caught:
            load(data)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="row limit is 0"):
        load(ROWS, row_limit=0)


def test_an_unreachable_hub_name_is_one_sentence():
    """In a process of its own, since the hub's client reads HF_HUB_OFFLINE when it is imported."""
    code = "from burnish.data.sources import load; load('burnish-tests/no-such-data:test')"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "UserError: burnish-tests/no-such-data is not a local file or folder" in last
    assert "split 'test' from the hub failed" in last


def test_rows_to_dataset_keeps_a_mixed_column_unchanged():
    found = rows_to_dataset([{"a": 0}, {"a": "foo"}, {"a": {"b": [1]}}], "rows")
    assert column(found, "a") == [0, "foo", {"b": [1]}]


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels - 1):
        found = [found]
    return found


def test_a_row_that_is_nested_too_deeply_or_too_long_is_refused(tmp_path: Path) -> None:
    """Python reads 900 levels from JSON, but whatever comes next walks through them in calls of its own."""
    sources.refuse_excess({"text": nested(99), "messages": [{"role": "user", "content": "a"}]}, "x")
    for rows, number in (([{"text": nested(101)}], 0), ([{"a": 1}, {"a": [{"b": nested(900)}]}], 1)):
        with pytest.raises(UserError, match=f"row {number}: is nested more than 100 levels deep; make it flatter"):
            sources.load(rows)
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(UserError, match=f"row {number}: is nested more than 100 levels deep; make it flatter"):
            sources.load(path)
    with pytest.raises(UserError, match="row 0: is longer than 8 MiB"):
        sources.load([{"text": "x" * (2**23 + 1)}])
