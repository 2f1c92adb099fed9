"""Expected records and phrases are written out by hand."""

import hashlib
from pathlib import Path

import pytest
import yaml

from burnish.run import UserError, config_differences, read_jsonl, read_mapping
from burnish.run.records import yaml_with_checksum


def test_records_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"b": 1, "a": 0.1}\n\n{"b": null}\n')
    records = read_jsonl(path)
    assert records == [{"b": 1, "a": 0.1}, {"b": None}]
    assert list(records[0]) == ["b", "a"]


def test_a_file_without_records(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert read_jsonl(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("rest", ['{"step": 2', '{"text": "é'.encode()[:-1].decode("latin-1"), "{", '{"step": 2}'[:-1]])
def test_an_unfinished_last_line_is_skipped(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + rest.encode("latin-1"))
    assert read_jsonl(path) == [{"step": 1}]


def test_every_cut_through_a_line_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    line = '{"step": 12, "text": "naïve"}\n'.encode()
    for length in range(len(line) - 1):
        path.write_bytes(line + line[:length])
        assert read_jsonl(path) == [{"step": 12, "text": "naïve"}]
    for length in (len(line) - 1, len(line)):
        path.write_bytes(line + line[:length])
        assert len(read_jsonl(path)) == 2


def test_a_line_break_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text('{"text": "a\u2028b\u0085c"}\n', encoding="utf-8")
    assert read_jsonl(path) == [{"text": "a\u2028b\u0085c"}]


@pytest.mark.parametrize("line", [b'{"step": 2', b"[1]", b"nonsense", b'{"a": "\xff"}'])
def test_a_broken_line_elsewhere_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2, is not"):
        read_jsonl(path)


def test_a_broken_last_line_that_was_finished_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step"\n')
    with pytest.raises(UserError, match="line 2"):
        read_jsonl(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read"):
        read_jsonl(tmp_path / "metrics.jsonl")


def test_equal_configs_do_not_differ() -> None:
    config = {"steps": 10, "data": Path("x"), "betas": (0.9, 0.99), "empty": {}}
    assert config_differences(config, {"steps": 10, "data": "x", "betas": [0.9, 0.99], "empty": {}}) == []


def test_what_changes_bits_is_named() -> None:
    old = {"algorithm": {"beta": 0.1}, "steps": 10, "gone": True, "same": None}
    new = {"algorithm": {"beta": 0.2}, "steps": 20, "same": None, "come": "x"}
    assert config_differences(old, new) == [
        "algorithm.beta (was 0.1, now 0.2)",
        "steps (was 10, now 20)",
        "gone (was True, now not set)",
        "come (was not set, now 'x')",
    ]


@pytest.mark.parametrize("key", ["out", "resume", "overwrite", "quiet", "debug", "save_every"])
def test_what_changes_no_bit_may_change(key: str) -> None:
    assert config_differences({key: 1}, {key: 2}) == []
    assert config_differences({key: 1}, {key: 2}, free=()) == [f"{key} (was 1, now 2)"]


@pytest.mark.parametrize("key", ["steps", "threads", "device", "seed", "accumulate", "eval_every"])
def test_what_may_change_a_bit_may_not_change(key: str) -> None:
    assert config_differences({key: 1}, {key: 2}) == [f"{key} (was 1, now 2)"]


def test_one_and_true_differ() -> None:
    assert config_differences({"x": 1}, {"x": True}) == ["x (was 1, now True)"]


def test_mappings_are_read_by_their_ending(tmp_path: Path) -> None:
    """YAML reads 1e-05 as text, JSON as a number."""
    for name, expected in (("x.yaml", "1e-05"), ("x.json", 1e-05)):
        (tmp_path / name).write_text('{"a": 1e-05}')
        assert read_mapping(tmp_path / name) == {"a": expected}


@pytest.mark.parametrize("text", ["[1]", "{", "", "a: b: c"])
def test_a_file_that_is_not_a_mapping_is_named(tmp_path: Path, text: str) -> None:
    for name in ("x.yaml", "x.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=name):
            read_mapping(tmp_path / name)
    with pytest.raises(UserError, match=r"absent\.yaml cannot be read"):
        read_mapping(tmp_path / "absent.yaml")


def test_keys_are_text_and_deep_nesting_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("1: a\nnull: b\n")
    assert read_mapping(tmp_path / "x.yaml") == {"1": "a", "None": "b"}
    for name in ("x.yaml", "x.json"):
        (tmp_path / name).write_text("[" * 5000)
        with pytest.raises(UserError, match=rf"{name} cannot be read \(maximum recursion depth.*\): restore it"):
            read_mapping(tmp_path / name)
    (tmp_path / "x.jsonl").write_text("{}\n" + "[" * 5000 + "\n")
    with pytest.raises(UserError, match=r"x\.jsonl, line 2, is not JSON \(maximum recursion depth"):
        read_jsonl(tmp_path / "x.jsonl")


CONFIG = {"algorithm": "sft", "steps": 12, "data": "über", "out": "x"}


def test_a_mapping_with_its_checksum_is_yaml(tmp_path: Path) -> None:
    text = yaml_with_checksum(CONFIG)
    first, _, rest = text.partition("\n")
    assert first == f"# sha256 of the lines below: {hashlib.sha256(rest.encode()).hexdigest()}"
    assert yaml.safe_load(text) == CONFIG
    (tmp_path / "config.yaml").write_text(text)
    assert read_mapping(tmp_path / "config.yaml") == CONFIG
    (tmp_path / "config.yaml").write_text(rest)  # as older versions wrote it, and hands do
    assert read_mapping(tmp_path / "config.yaml") == CONFIG


def test_every_cut_and_flip_below_the_checksum_is_noticed(tmp_path: Path) -> None:
    whole = yaml_with_checksum(CONFIG).encode()
    begin = whole.index(b"\n") + 1
    cuts = [whole[:length] for length in range(begin, len(whole))]
    flips = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(begin, len(whole))]
    for damaged in cuts + flips:
        (tmp_path / "config.yaml").write_bytes(damaged)
        with pytest.raises(
            UserError,
            match=r"config\.yaml (has changed since .* delete its first line|cannot be read \('utf-8')",
        ):
            read_mapping(tmp_path / "config.yaml")
