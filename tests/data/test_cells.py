"""Conversion of cells to text, numbers and booleans, and the error for every other value."""

import math

import pytest

from burnish.data import cells
from burnish.data.sources import load
from burnish.run import UserError


@pytest.mark.parametrize("cell", [True, 1, 1.0, "True", "true", " TRUE ", "1"])
def test_true_values(cell):
    assert cells.truth(cell, "here") is True


@pytest.mark.parametrize("cell", [False, 0, 0.0, "False", "false", "0"])
def test_false_values(cell):
    assert cells.truth(cell, "here") is False


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("good", "'good'"),
        ("", "''"),
        (2, "2"),
        (0.5, "0.5"),
        (-1, "-1"),
        (math.nan, "nan"),
        (None, "None"),
        ([True], "of type list"),
        ("x" * 90, "of type str"),
    ],
)
def test_values_that_are_not_booleans(cell, shown):
    with pytest.raises(UserError) as caught:
        cells.truth(cell, "f, row 3: column `label`")
    assert str(caught.value) == (
        f"f, row 3: column `label` is {shown}, but it must be true or false (or 1 or 0); fix or remove the row."
    )


@pytest.mark.parametrize(("cell", "number"), [(3, 3.0), (-0.5, -0.5), ("2.5", 2.5), (" 7 ", 7.0)])
def test_numbers(cell, number):
    assert cells.number(cell, "here") == number


@pytest.mark.parametrize("cell", [None, "", "many", True, math.inf, "nan", [1], 10**400])
def test_values_that_are_not_numbers(cell):
    with pytest.raises(UserError, match=r"^f, row 0: .*not a finite number; fix or remove the row\.$"):
        cells.number(cell, "f, row 0: column `margin`")


@pytest.mark.parametrize("cell", ["", " \n", None, 3, ["a"]])
def test_values_that_are_not_text(cell):
    with pytest.raises(UserError, match=r"^here is "):
        cells.text(cell, "here")
    assert cells.text("", "here", may_be_empty=True) == ""
    assert cells.text(" a", "here") == " a"


def test_rows_are_numbered_across_batches():
    rows = list(cells.rows(load([{"a": i, "b": -i} for i in range(2345)]), ("b",)))
    assert rows[2344] == (2344, {"b": -2344})
    assert len(rows) == 2345
