"""Rows of a stream from any row on, equal to those of the same data read whole."""

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, IterableDataset

from burnish.data.names import single
from burnish.data.sources import load
from burnish.data.streams import stream
from burnish.run import UserError

ROWS = [{"text": f"row {i}", "number": i} for i in range(25)]


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    return path


@pytest.fixture(params=["jsonl", "parquet", "folder", "saved", "configuration", "table", "python"])
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "folder"
    folder.mkdir()
    if request.param == "jsonl":
        return single(str(write(folder / "a.jsonl", ROWS)))
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet", row_group_size=7)
        return single(str(folder / "a.parquet"))
    if request.param == "saved":
        Dataset.from_list(ROWS).save_to_disk(folder / "saved")
        return single(f"{folder / 'saved'}:train")
    if request.param == "python":
        return IterableDataset.from_generator(lambda: iter(ROWS))
    if request.param == "table":
        header = "---\nconfigs:\n- config_name: table\n  data_files: table.csv\n  sep: ';'\n---\n"
        (folder / "table.csv").write_text("text;number\n" + "".join(f"{r['text']};{r['number']}\n" for r in ROWS))
        (folder / "README.md").write_text(header)
        return single(f"{folder}:table")
    for number, part in enumerate((ROWS[:4], ROWS[4:11], ROWS[11:])):
        write(folder / "one" / f"train-0000{number}-of-00003.jsonl", part)
    if request.param == "configuration":
        (folder / "README.md").write_text("---\nconfigs:\n- config_name: one\n  data_dir: one\n---\n")
    return single(f"{folder}:one:train")


@pytest.mark.parametrize("start", [0, 1, 3, 4, 6, 7, 10, 14, 24, 25])
def test_the_rows_after_any_row(data: object, start: int) -> None:
    rows, _ = stream(data)
    assert list(rows(start)) == ROWS[start:]
    assert next(rows(0)) == ROWS[0]


def test_rows_keep_the_keys_that_they_have(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "meta": {"x": 1}}, {"text": "b"}])
    rows, size = stream(single(str(path)))
    assert list(rows(0)) == [{"text": "a", "meta": {"x": 1}}, {"text": "b"}]
    assert size == path.stat().st_size


def failing() -> object:
    yield ROWS[0]
    raise ConnectionError("no route")


def test_one_sentence_for_each_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    (tmp_path / "torn.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "torn.parquet").write_text("no table")
    for data, sentence in [
        (single(f"{tmp_path}/a.csv"), r"a\.csv cannot be streamed; use \.jsonl or \.parquet files"),
        (single(f"{tmp_path}/none.jsonl"), r"none\.jsonl does not exist"),
        (single(f"{tmp_path}/torn.jsonl"), r"torn\.jsonl, line 2: is not valid JSON"),
        (single(f"{tmp_path}/torn.parquet"), r"torn\.parquet cannot be read \(Parquet magic bytes not found"),
        (IterableDataset.from_generator(failing), r"row 1 of the streamed data cannot be read \(.*\); try again"),
    ]:
        with pytest.raises(UserError, match=sentence):
            list(stream(data)[0](0))
    with pytest.raises(UserError, match="The IterableDataset has no end that is known; set streaming=True and steps"):
        load(IterableDataset.from_generator(lambda: iter(ROWS)))
