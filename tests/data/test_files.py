"""Single files: every file type, what is kept exactly, and the error for each kind of broken file."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burnish.data import files
from burnish.data.files import ending, read_parquet, read_rows
from burnish.data.names import single
from burnish.data.streams import stream
from burnish.run import UserError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines_keep_order_and_skip_blank_lines(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"text": "one"}\n\n  \n{"text": "two\\u2028three"}\r\n')
    assert read_rows(path) == [{"text": "one"}, {"text": "two\u2028three"}]


def test_json_lines_with_a_byte_order_mark(tmp_path):
    path = written(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"text": "one"}\n')
    assert read_rows(path) == [{"text": "one"}]


def test_a_row_limit_stops_before_a_later_broken_line(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"text": "one"}\n{"text": "two"}\n{broken\n')
    assert read_rows(path, 2) == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("limit", [None, 1])
def test_json_is_a_list_of_objects(tmp_path, limit):
    rows = [{"text": "one"}, {"text": "two"}]
    path = written(tmp_path, "a.json", json.dumps(rows, indent=2))
    assert read_rows(path, limit) == rows[:limit]


def test_json_lines_with_the_extension_json(tmp_path):
    path = written(tmp_path, "a.json", '{"text": "one"}\n{"text": "two"}\n')
    assert read_rows(path) == [{"text": "one"}, {"text": "two"}]
    assert read_rows(written(tmp_path, "b.json", '{"text": "one"}')) == [{"text": "one"}]


def test_csv_keeps_every_cell_unchanged(tmp_path):
    """The cells that data-frame readers change: NA, None, 007, an empty one, a comma, a newline."""
    path = written(tmp_path, "a.csv", 'prompt,completion\nNA,None\n007,""\n"a, b","two\nlines"\n')
    assert read_rows(path) == [
        {"prompt": "NA", "completion": "None"},
        {"prompt": "007", "completion": ""},
        {"prompt": "a, b", "completion": "two\nlines"},
    ]
    assert len(read_rows(path, 2)) == 2


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_compressed_files_have_the_rows_of_the_files_in_them(tmp_path: Path, name: str) -> None:
    text = {"a.jsonl": '{"text": "one"}\n{"text": "two"}\n', "a.json": '[{"text": "one"}, {"text": "two"}]'}
    packed = gzip.compress(text.get(name, "text\none\ntwo\n").encode())
    path = written(tmp_path, f"{name}.gz", packed)
    assert read_rows(path) == [{"text": "one"}, {"text": "two"}]
    assert read_rows(path, 1) == [{"text": "one"}]
    assert ending(path) == ending(Path("/B.V2") / path.name.upper()) == f"{Path(name).suffix}.gz"
    for number, content in enumerate((packed[:-4], packed[:10] + bytes([255] * 9) + packed[19:], b"no archive")):
        broken = written(tmp_path, f"{number}{name}.gz", content)
        with pytest.raises(UserError, match=rf"{number}{name}\.gz cannot be unpacked \(.*\); compress it again"):
            read_rows(broken)


def test_csv_with_a_byte_order_mark_and_a_very_long_cell(tmp_path):
    path = written(tmp_path, "a.csv", "\ufefftext\n" + "x" * 200_000 + "\n")
    assert [len(row["text"]) for row in read_rows(path)] == [200_000]


def test_parquet_shards_are_concatenated(tmp_path):
    for number, texts in enumerate((["a", "b"], ["c"])):
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{number}.parquet")
    paths = sorted(tmp_path.glob("*.parquet"))
    assert read_parquet(paths)["text"][:] == ["a", "b", "c"]
    assert read_parquet(paths, 1)["text"][:] == ["a"]
    assert read_parquet(paths, 3)["text"][:] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", '{"text": "one"}\n{"text": \n', r"a\.jsonl, line 2: is not valid JSON"),
        ("a.jsonl", '{"text": "one"}\n\n["two"]\n', r"a\.jsonl, line 3: is a JSON list"),
        ("a.jsonl", b'{"text": "one"}\n{"text": "\xff"}\n', r"a\.jsonl, line 2: is not valid JSON"),
        ("a.jsonl", "", r"a\.jsonl is empty"),
        ("a.json", '[{"text": "one"},\n nonsense]', r"a\.json, line 2: is not valid JSON"),
        ("a.json", '"text"', r"a\.json: is a JSON string, but it must be a list"),
        ("a.json", '[{"text": "one"}, 7]', r"a\.json, row 1: is a JSON number"),
        ("a.csv", "text,other\none,1\ntwo, too,2\n", r"a\.csv, line 3: has 3 cells, but the header has 2"),
        ("a.csv", "text,text\none,1\n", r"a\.csv, line 1: two columns have the same name"),
        ("a.csv", 'text\n"one\n', r"a\.csv, line 2: is not valid CSV"),
        ("a.csv", b"text\n\xff\n", r"a\.csv: is not UTF-8"),
        (
            "a.txt",
            "one\n",
            r"a\.txt: unknown file type '\.txt'; use a file that ends in \.jsonl, \.json, \.csv, \.parquet, \.jsonl",
        ),
    ],
)
def test_one_sentence_for_each_broken_file(tmp_path, name, content, sentence):
    path = written(tmp_path, name, content)
    with pytest.raises(UserError, match=sentence) as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_broken_parquet_and_differing_shards(tmp_path):
    broken = written(tmp_path, "a.parquet", "no parquet")
    with pytest.raises(UserError, match=r"a\.parquet is not a readable Parquet file"):
        read_parquet([broken])
    with pytest.raises(UserError, match=r"b\.parquet is empty"):
        read_parquet([written(tmp_path, "b.parquet", "")])
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"text": [1]}), tmp_path / "1.parquet")
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))}: the columns of its files differ in type"):
        read_parquet([tmp_path / "0.parquet", tmp_path / "1.parquet"])


def test_a_key_that_is_given_twice_is_warned_about(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a"}\n{"text": "a", "text": "b"}\n{"text": "c", "m": {"x": 1, "x": 2}}\n'
    )
    with pytest.warns(
        UserWarning, match=r"a\.jsonl, line 2: the key `text` is given twice in one object, as in 1 other"
    ):
        assert read_rows(tmp_path / "a.jsonl") == [{"text": "a"}, {"text": "b"}, {"text": "c", "m": {"x": 2}}]
    (tmp_path / "a.json").write_text('[{"text": "a", "text": "b"}]')
    with pytest.warns(UserWarning, match=r"a\.json: the key `text` is given twice in one object; the last"):
        assert read_rows(tmp_path / "a.json") == [{"text": "b"}]


def test_a_line_longer_than_any_row_is_refused_before_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of 40 bytes: the second line has 41, and the first with its end 40."""
    monkeypatch.setattr(files, "LONGEST_ROW", 40)
    path = tmp_path / "long.jsonl"
    path.write_text(f'{{"text": "{"x" * 27}"}}\n{{"text": "{"y" * 28}"}}\n')
    assert [len(line) for line in path.read_bytes().splitlines(keepends=True)] == [40, 41]
    with path.open("rb") as file:
        assert len(next(files.limited_lines(file, "x"))) == 40
    with pytest.raises(UserError, match=r"long\.jsonl, line 2: is longer than 8 MiB"):
        files.read_rows(path)


def test_json_that_is_nested_too_deeply_is_a_sentence(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "deep.jsonl").write_text(f'{{"text": {deep}}}\n')
    (tmp_path / "deep.json").write_text(deep)
    for name in ("deep.jsonl, line 1", "deep.json"):
        with pytest.raises(UserError, match=f"{re.escape(name)}: is nested too deeply; make it flatter"):
            files.read_rows(tmp_path / name.split(",")[0])


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("text", ["a", "b" * 40, "c" * 41]),
        ("messages", [[{"content": "a"}], [{"content": "b" * 40}, {"content": "d"}], [{"content": "c" * 41}]]),
        ("tags", [["a"], [], ["b", "c" * 41]]),
    ],
)
def test_a_cell_of_a_parquet_file_is_at_most_as_long_as_a_row(column, cells, tmp_path, monkeypatch):
    """Read whole and streamed; the third of three rows has 41 bytes of at most 40."""
    monkeypatch.setattr(files, "LONGEST_ROW", 40)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"number": [1, 2, 3], column: cells}), path, row_group_size=2)
    with pytest.raises(UserError, match=rf"a\.parquet, row 2: its column `{column}` is longer than 8 MiB"):
        read_parquet([path])
    assert len(read_parquet([path], 2)) == 2
    rows = stream(single(str(path))).rows(0)
    assert [next(rows)["number"], next(rows)["number"]] == [1, 2]
    with pytest.raises(UserError, match=rf"row 2: its column `{column}`"):
        next(rows)
