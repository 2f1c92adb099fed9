"""Cells of an invented study: their files, and what a killed process left."""

import json
from pathlib import Path

import pytest

from burnish.recipes.study.cell import kept, known
from burnish.run import UserError

from .jobs import Number, Squares


def test_a_cell_is_written_when_it_is_finished_and_its_work_is_removed(tmp_path: Path) -> None:
    """What a killed process left is removed first."""
    left = tmp_path / "work" / "numbers-3"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    assert known(Number(3), Squares(), tmp_path) is None
    assert kept(Number(3), Squares(), tmp_path) == {"square": 9, "before": []}
    assert not left.exists()
    assert known(Number(3), Squares(), tmp_path) == {"number": 3, "square": 9, "before": []}


def test_a_cell_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="13 is unlucky"):
        kept(Number(13), Squares(), tmp_path)
    assert known(Number(13), Squares(), tmp_path) is None


def test_a_damaged_cell_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "cells" / "numbers" / "3.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    with pytest.raises(UserError, match=r"3\.json is damaged: remove it, and --resume computes it again"):
        known(Number(3), Squares(), tmp_path)
    file.write_text(json.dumps({"square": 9}))
    assert known(Number(3), Squares(), tmp_path) == {"square": 9}
