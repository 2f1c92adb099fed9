"""Configurations and splits of data sets in the hub's format, on local folders that `load_dataset` reads."""

import json
from pathlib import Path

import datasets
import pytest

from burnish.data.names import parts
from burnish.data.repositories import hub_arguments, load_repository, resolve
from burnish.data.sources import load
from burnish.run import UserError

HEADER = """---
configs:
- config_name: math
  data_files:
  - split: train
    path: math/first.jsonl
  - split: test
    path: math/second.jsonl
- config_name: code
  data_dir: code
---
# A data set
"""


def write(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def texts(name: str) -> list[str]:
    return list(load(name)["text"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two configurations; what `datasets` caches goes to the test's own folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = tmp_path / "folder"
    write(found / "math" / "first.jsonl", "one and one", "two and two")
    write(found / "math" / "second.jsonl", "three and three")
    write(found / "code" / "train.jsonl", "print(1)")
    write(found / "code" / "test.jsonl", "print(2)")
    (found / "README.md").write_text(HEADER)
    return found


@pytest.mark.parametrize(
    ("suffixes", "expected"),
    [
        (":math", ["one and one", "two and two"]),
        (":math:train", ["one and one", "two and two"]),
        (":math:test", ["three and three"]),
        (":code", ["print(1)"]),
        (":code:test", ["print(2)"]),
    ],
)
def test_a_configuration_and_a_split(suffixes: str, expected: list[str], folder: Path) -> None:
    assert texts(f"{folder}{suffixes}") == expected
    part = parts(f"{folder}{suffixes}")[0]
    assert list(load_repository(part.base, part.suffixes, "train")["text"]) == expected
    streamed = load_repository(part.base, part.suffixes, "train", streaming=True)
    assert [row["text"] for row in streamed] == expected


def test_the_options_of_a_configuration_are_used(folder: Path) -> None:
    header = "---\nconfigs:\n- config_name: table\n  data_files: table.csv\n  sep: ';'\n---\n"
    (folder.parent / "tables").mkdir()
    (folder.parent / "tables" / "table.csv").write_text("text;other\nseven;x\n")
    (folder.parent / "tables" / "README.md").write_text(header)
    for suffixes in ("", ":table", ":table:train"):
        assert load(f"{folder.parent / 'tables'}{suffixes}").to_list() == [{"text": "seven", "other": "x"}]


def test_rows_of_a_local_configuration_are_those_of_its_file(folder: Path) -> None:
    """Arrow would give both rows both keys."""
    rows = [{"text": "x", "meta": {"a": 1}}, {"text": "y", "meta": {"b": "two"}}]
    (folder / "math" / "first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "plain.jsonl").write_bytes((folder / "math" / "first.jsonl").read_bytes())
    assert load(f"{folder}:math").to_list() == load(folder / "plain.jsonl").to_list()


@pytest.mark.parametrize(
    ("suffixes", "sentence"),
    [
        ("", r"folder needs a configuration, as in \S*folder:math:train; it has math, code\.$"),
        (":test", r"folder needs a configuration, as in \S*folder:math:test; it has math, code\.$"),
        (":maths", r"folder has no configuration 'maths'; it has math, code\.$"),
        (":maths:train", r"folder has no configuration 'maths'; it has math, code\.$"),
        (":math:dev", r"folder, configuration math, has no split 'dev'; it has train, test\.$"),
        (":code:dev", r"folder, configuration code, has no split 'dev'; it has train, test\.$"),
        (":a:b:c", r"folder:a:b:c has too many colons; write name:configuration:split\.$"),
    ],
)
@pytest.mark.parametrize("read", ["load", "load_repository"])
def test_what_is_missing_is_listed(suffixes: str, sentence: str, read: str, folder: Path) -> None:
    part = parts(f"{folder}{suffixes}")[0]
    with pytest.raises(UserError, match=sentence) as caught:
        load(part) if read == "load" else load_repository(part.base, part.suffixes, "train")
    assert "\n" not in str(caught.value)


def test_the_default_configuration_needs_no_name(folder: Path) -> None:
    (folder / "README.md").write_text(HEADER.replace("config_name: code", "config_name: code\n  default: true"))
    assert texts(str(folder)) == ["print(1)"]
    assert texts(f"{folder}:test") == ["print(2)"]
    assert texts(f"{folder}:math") == ["one and one", "two and two"]
    with pytest.raises(UserError, match=r"folder has no split 'dev'; it has train, test\."):
        load(f"{folder}:dev")


def test_a_broken_header_is_one_sentence(folder: Path) -> None:
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")
    with pytest.raises(UserError, match=r"README\.md: its YAML header is not valid"):
        load(folder)


def test_subfolders_are_configurations_and_splits_without_a_header(tmp_path: Path) -> None:
    write(tmp_path / "one" / "math" / "train.jsonl", "m1")
    write(tmp_path / "one" / "math" / "test.jsonl", "m2")
    write(tmp_path / "one" / "code" / "test" / "any.jsonl", "c2")
    write(tmp_path / "one" / "code" / "train" / "any.jsonl", "c1")
    one = tmp_path / "one"
    assert texts(f"{one}:math") == texts(f"{one}:math:train") == ["m1"]
    assert texts(f"{one}:math:test") == ["m2"]
    assert texts(f"{one}:code") == ["c1"]
    assert texts(f"{one}:code:test") == texts(f"{one / 'code'}:test") == ["c2"]
    for suffixes, sentence in [
        ("", r"one needs a configuration, as in \S*one:code:train; it has code, math\."),
        (":test", r"one needs a configuration, as in \S*one:code:test; it has code, math\."),
        (":maths", r"one has no configuration 'maths'; it has code, math\."),
        (":maths:test", r"one has no configuration 'maths'; it has code, math\."),
        (":math:dev", r"math has no split 'dev'; it has test, train\."),
        (":code:dev", r"code has no split 'dev'; it has test, train\."),
    ]:
        with pytest.raises(UserError, match=sentence):
            load(f"{one}{suffixes}")
    write(tmp_path / "flat" / "train.jsonl", "x")
    with pytest.raises(UserError, match=r"flat has no configuration 'math'; name only the split, \S*flat:train\."):
        load(f"{tmp_path / 'flat'}:math:train")


@pytest.mark.parametrize(
    ("name", "split", "asked"),
    [
        ("Anthropic/hh-rlhf", "train", {"path": "Anthropic/hh-rlhf", "split": "train"}),
        ("HuggingFaceH4/ultrafeedback_binarized", "train", {"split": "train_prefs"}),
        ("HuggingFaceH4/ultrafeedback_binarized", "test_sft", {"split": "test_sft"}),
        ("openai/summarize_from_feedback", "validation", {"name": "comparisons", "split": "validation"}),
    ],
)
def test_what_the_hub_is_asked_for(name, split, asked):
    found = hub_arguments(name, split)
    assert found | asked | {"path": name} == found


def test_the_hub_is_asked_for_the_configuration_that_was_named():
    assert hub_arguments("owner/name", "test", "math") == {"path": "owner/name", "split": "test", "name": "math"}
    assert hub_arguments("openai/summarize_from_feedback", "test", "axis")["name"] == "axis"
    assert resolve("owner/name", ("math", "test"), "train") == ("math", "test")
    assert resolve("owner/name", ("test",), "train") == (None, "test")
