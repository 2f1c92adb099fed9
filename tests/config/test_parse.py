"""Files and values: what YAML may say, what a value is converted to, and in which words one is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from burnish.algorithms.table import LANGUAGE, load
from burnish.config import construct, option_names, option_types, read_config, suggestion
from burnish.config.parse import ELSEWHERE, INSTEAD, UNLIKE
from burnish.options import check, option
from burnish.run import UserError


@dataclass(frozen=True)
class Sample:
    """One option of every kind."""

    count: int = option(1, "a whole number", ge=0)
    rate: float | None = option(None, "a number", gt=0, infinite=True)
    share: float = option(0.0, "a finite number")
    quiet: bool = option(False, "a switch")
    name: str | None = option(None, "a text")
    kind: Literal["plain", "fancy"] = option("plain", "one of two")
    reward: Any = option(None, "anything")
    pair: tuple[int, int] = option((0, 0), "what a file cannot hold")
    files: str = option("", "several texts", several=True)
    secret: int = 0

    def __post_init__(self) -> None:
        check(self)


def test_options_are_the_fields_with_a_help_text() -> None:
    assert option_names(Sample) == {"count", "rate", "share", "quiet", "name", "kind", "reward", "pair", "files"}


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("count", 3, 3),
        ("count", 20.0, 20),
        ("count", "1e3", 1000),
        ("rate", 1, 1.0),
        ("rate", "1e-4", 1e-4),  # which YAML reads as text
        ("rate", None, None),
        ("rate", float("inf"), float("inf")),
        ("rate", "inf", float("inf")),
        ("quiet", True, True),
        ("name", "x", "x"),
        ("name", Path("runs") / "x", "runs/x"),
        ("name", None, None),
        ("kind", "fancy", "fancy"),
        ("reward", Path("runs") / "rm", "runs/rm"),
        ("reward", len, len),
        ("reward", None, None),
        ("files", "a", "a"),
        ("files", ["a:0.7", Path("b:0.3")], "a:0.7,b:0.3"),
    ],
)
def test_values_become_those_of_their_field(key: str, given: object, value: object) -> None:
    found = getattr(construct(Sample, {key: given}), key)
    assert found == value
    assert type(found) is type(value)


def test_what_is_not_given_keeps_its_default() -> None:
    assert construct(Sample, {}) == Sample()


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("count", 1.5, "count must be a whole number, not 1.5"),
        ("count", "many", "count must be a whole number, not 'many'"),
        ("count", True, "count must be a whole number, not True"),
        ("count", None, "count must be a whole number, not None"),
        ("count", [1], "count must be a whole number, not a list"),
        ("count", -1, "count must be at least 0, not -1"),
        ("name", ["x"], "name must be text, not a list"),
        ("files", ["a", {"b": 1}], "files must be text, or a list of texts, not a list with a dict"),
        ("files", 3, "files must be text, not 3"),
        ("share", "fast", "share must be a finite number, not 'fast'"),
        ("share", float("inf"), "share must be a finite number, not inf"),
        ("rate", {}, "rate must be a number, not a dict"),
        ("rate", float("-inf"), "rate must be above 0, not -inf"),
        ("rate", "nan", "rate must be a number, not 'nan'"),
        ("share", 10**400, f"share must be a finite number, not 1{'0' * 39}… (401 characters)"),
        ("count", -(10**400), f"count must be at least 0, not -1{'0' * 38}… (402 characters)"),
        pytest.param("count", -(10**5000), "count must be at least 0, not a number of thousands of digits", id="huge"),
        ("count", "x" * 70, f"count must be a whole number, not '{'x' * 39}… (72 characters)"),
        ("kind", "x" * 70, f"kind must be one of plain, fancy, not '{'x' * 39}… (72 characters)"),
        ("rate", 0, "rate must be above 0, not 0.0"),
        ("quiet", "false", "quiet must be true or false, not 'false'"),
        ("quiet", 1, "quiet must be true or false, not 1"),
        ("quiet", None, "quiet must be true or false, not None"),
        ("name", 3, "name must be text, not 3"),
        ("kind", "steep", "kind must be one of plain, fancy, not 'steep'"),
        ("kind", ["plain"], "kind must be one of plain, fancy, not ['plain']"),
        ("pair", (1, 2), "pair cannot be an option of type tuple[int, int]: use bool, int, float, str or a Literal"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key: str, given: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        construct(Sample, {key: given})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_is_answered_with_the_nearest_or_with_all() -> None:
    known = {"beta", "batch_size"}
    assert suggestion("betta", known) == ": did you mean 'beta'?"
    assert suggestion("zzz", known) == "; the keys are batch_size, beta"
    assert suggestion("kl_coef", known) == ": it is 'beta' here"
    assert suggestion("init-kl-coef", known) == ": it is 'beta' here"
    assert suggestion("loss-type", known).startswith(": each loss is a method of its own here, such as `burnish ipo`")
    assert suggestion("lr", known) == "; the keys are batch_size, beta"  # a method without a learning rate
    counted = ": it is 'batch_size' here (all rows of an update, however they are divided)"
    assert suggestion("per_device_train_batch_size", known) == counted


def test_words_of_other_libraries_have_keys_of_ours() -> None:
    every = {key for name in LANGUAGE for cls in option_types(load(name)) for key in option_names(cls)}
    assert set(ELSEWHERE.values()) <= every
    assert not ELSEWHERE.keys() & every
    assert not INSTEAD.keys() & (every | ELSEWHERE.keys())
    assert ELSEWHERE.keys() >= UNLIKE.keys()


def test_a_file_is_its_keys_and_values(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 3\ndata: 'x: y.jsonl'\nquiet: yes\nthreads: null\n1: 2\nbeta: 1e-4\n", encoding="utf-8")
    expected = {"seed": 3, "data": "x: y.jsonl", "quiet": True, "threads": None, "1": 2, "beta": "1e-4"}
    assert read_config(path) == expected


def test_merge_keys_add_what_is_not_written(tmp_path: Path) -> None:
    """As YAML defines them: what is written wins over what is merged, and of several the first wins."""
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: *a, y: 3}\nd:\n  <<: [*a, *b]\n  w: 4\n")
    read = read_config(path)
    assert read["c"] == {"x": 1, "y": 3}
    assert read["d"] == {"x": 1, "y": 1, "z": 2, "w": 4}
    assert read["a"] == {"x": 1, "y": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "must contain one `key: value` pair per line"),
        (b"", "must contain one `key: value` pair per line"),
        (b"a: [1\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"seed: 1\nbeta: 0.1\nseed: 2\n", "'seed' is given twice"),
        (b"ppo: {clip: 1, clip: 2}\n", "'clip' is given twice"),
        (b"a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}\n", "'y' is given twice"),
        (b"a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "'<<' is given twice"),
        (b"<<: 5\n", "expected a mapping or list of mappings for merging"),
        (b"trust_remote_code: false\n", "sets trust_remote_code, which no file may do: give the flag --trust-remote-"),
        (b"trust-remote-code: true\n", "sets trust-remote-code, which no file may do: give the flag --trust-remote-"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--config .*none\.yaml cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
