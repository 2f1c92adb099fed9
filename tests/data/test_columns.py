"""Cells come back as their rows gave them: no key of another row, no null that a row did not give, no bit lost."""

import random

import pytest
from datasets import Dataset

from burnish.data.columns import column, rows_of, table, without_nulls


def test_objects_have_their_own_keys_and_their_own_nulls():
    cells = [[{"name": "f", "arguments": {"bay": "A"}}], [{"name": "g", "arguments": {"hour": None, "a": [{}]}}], None]
    found = table({"calls": cells, "text": ["a", "b", None]})
    assert column(found, "calls") == cells
    assert column(found, "text") == ["a", "b", None]
    assert list(rows_of(found, ("text", "calls"))) == list(zip(["a", "b", None], cells, strict=True))
    assert found.column_names == ["calls", "text"]


def test_text_beside_other_types_stays_text():
    cells = ["42", ["a"], "null", {"x": 1}, "[1]", None, 7, "é\u2028"]
    assert column(table({"mixed": cells}), "mixed") == cells


def test_numbers_keep_every_bit():
    rng = random.Random(0)
    numbers = [rng.random() * 10 ** rng.randint(-30, 30) for _ in range(200)] + [2**70, 0.1 + 0.2]
    found = column(table({"x": [{"n": number} for number in numbers]}), "x")
    assert [cell["n"] for cell in found] == numbers


def test_plain_columns_are_arrows_own():
    found = table({"text": ["a", "b"], "number": [1, 2.5], "list": [["a"], []]})
    assert {name: str(kind) for name, kind in found.features.items()} == {
        "text": "Value('string')",
        "number": "Value('float64')",
        "list": "List(Value('string'))",
    }


def test_text_that_is_not_unicode_is_an_error():
    for cells in (["\ud800"], [{"a": "\ud800"}]):
        with pytest.raises(UnicodeEncodeError):
            table({"a": cells})


def test_what_json_cannot_hold_is_left_to_arrow():
    assert column(table({"a": [{"b": b"x"}]}), "a") == [{"b": b"x"}]


def test_nulls_that_arrow_added_are_taken_out():
    merged = Dataset.from_list([{"m": [{"a": 1}]}, {"m": [{"b": {"c": None, "d": 2}}]}])
    assert merged[0]["m"] == [{"a": 1, "b": None}]
    assert column(merged, "m") == [[{"a": 1}], [{"b": {"d": 2}}]]
    assert without_nulls([None, {"a": None}]) == [None, {}]


def test_selected_rows_are_read_the_same():
    found = table({"a": [{"x": i} for i in range(5)]})
    assert column(found.select([3, 1]), "a") == [{"x": 3}, {"x": 1}]
