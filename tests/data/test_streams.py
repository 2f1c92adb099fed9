"""Rows of a stream from any row on, equal to those of the same data read whole."""

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, IterableDataset

from burnish.data import streams
from burnish.data.names import Part, single
from burnish.data.sources import load
from burnish.data.streams import digest, large, stream
from burnish.run import BurnishWarning, UserError

ROWS = [{"text": f"row {i}", "number": i} for i in range(25)]


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    return path


@pytest.fixture(
    params=["jsonl", "jsonl.gz", "csv", "csv.gz", "parquet", "folder", "saved", "configuration", "table", "python"]
)
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "folder"
    folder.mkdir()
    if request.param == "jsonl":
        return single(str(write(folder / "a.jsonl", ROWS)))
    if request.param == "jsonl.gz":
        packed = gzip.compress(write(folder / "a.jsonl", ROWS).read_bytes())
        (folder / "a.jsonl.gz").write_bytes(packed)
        return single(str(folder / "a.jsonl.gz"))
    if request.param.startswith("csv"):
        text = "text,number\n" + "".join(f"{row['text']},{row['number']}\n\n" for row in ROWS)
        file = folder / f"a.{request.param}"
        file.write_bytes(gzip.compress(text.encode()) if request.param == "csv.gz" else text.encode())
        return single(str(file))
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
def test_the_rows_after_any_row(data: Any, start: int) -> None:
    """All cells of CSV are text."""
    table = stream(data)
    of_text = isinstance(data, Part) and ".csv" in data.name
    expected = [row | {"number": str(row["number"])} for row in ROWS] if of_text else ROWS
    assert list(table.rows(start)) == expected[start:]
    assert next(table.rows(0)) == expected[0]


def test_rows_are_counted_where_there_are_files(data: Any) -> None:
    table = stream(data)
    assert table.count() == (len(ROWS) if table.files else None)
    assert (table.digest() is None) == (not table.files)


def test_rows_keep_the_keys_that_they_have(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "meta": {"x": 1}}, {"text": "b"}])
    table = stream(single(str(path)))
    assert list(table.rows(0)) == [{"text": "a", "meta": {"x": 1}}, {"text": "b"}]


def test_a_key_that_is_given_twice_is_warned_about_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + '{"text": "b", "text": "c"}\n' * 2)
    with pytest.warns(BurnishWarning) as caught:
        assert [row["text"] for row in stream(single(str(path))).rows(0)] == ["a", "c", "c"]
    (warning,) = caught
    assert "a.jsonl, line 2: the key `text` is given twice in one object; the last value is used" in str(
        warning.message
    )


def test_a_change_anywhere_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte, one byte moved to the next file; of larger data only every n-th piece is read."""
    one, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    found = set()
    for texts in (("abcdefgh", "ij"), ("abcdefgX", "ij"), ("abcdefghi", "j"), ("abcdefgh", "iX")):
        for path, text in zip((one, other), texts, strict=True):
            path.write_text(text)
        found.add(digest([one, other]))
    assert len(found) == 4
    monkeypatch.setattr(streams, "PIECE", 2)
    monkeypatch.setattr(streams, "MOST_READ", 5)
    one.write_text("abcdefgh")  # pieces ab and ef: at most 5 of 8 bytes need every second piece
    before = digest([one])
    for text, same in (("abXdefgh", True), ("abcdXfgh", False), ("abcdefghi", False)):
        one.write_text(text)
        assert (digest([one]) == before) == same


def test_what_is_large(tmp_path: Path) -> None:
    pairs = write(tmp_path / "a.jsonl", [{"text": "good film"}] * 10)
    rated = write(tmp_path / "b.jsonl", [{"prompt": "good", "response": "film", "rating": 1}] * 10)
    whole = tmp_path / "c.json"
    whole.write_text(json.dumps(ROWS * 10))
    size = pairs.stat().st_size
    assert large([single(str(pairs))], size - 1)
    assert not large([single(str(pairs))], size)
    assert large([single(str(pairs))] * 2, 2 * size - 1)
    for other in (str(rated), str(whole), "builtin", "owner/name"):
        assert not large([single(other)], 10)
        assert not large([single(str(pairs)), single(other)], 10)


def failing() -> object:
    yield ROWS[0]
    raise ConnectionError("no route")


def test_one_sentence_for_each_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "torn.csv").write_text("text,more\na\n")
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 9)[:-4])
    (tmp_path / "torn.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "torn.parquet").write_text("no table")
    for data, sentence in [
        (
            single(f"{tmp_path}/a.json"),
            r"a\.json cannot be streamed; use \.jsonl, \.jsonl\.gz, \.csv, \.csv\.gz, \.par",
        ),
        (single(f"{tmp_path}/torn.csv"), r"torn\.csv, line 2: has 1 cells, but the header has 2"),
        (single(f"{tmp_path}/torn.jsonl.gz"), r"torn\.jsonl\.gz cannot be read \(Compressed file ended before"),
        (single(f"{tmp_path}/none.jsonl"), r"none\.jsonl does not exist"),
        (single(f"{tmp_path}/torn.jsonl"), r"torn\.jsonl, line 2: is not valid JSON"),
        (single(f"{tmp_path}/torn.parquet"), r"torn\.parquet cannot be read \(Parquet magic bytes not found"),
        (IterableDataset.from_generator(failing), r"row 1 of the streamed data cannot be read \(.*\); try again"),
    ]:
        with pytest.raises(UserError, match=sentence):
            list(stream(data).rows(0))
    with pytest.raises(UserError, match="The IterableDataset has no end that is known; set streaming=True and steps"):
        load(IterableDataset.from_generator(lambda: iter(ROWS)))
