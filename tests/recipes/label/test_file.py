"""The labels file: appended, synced, and whole again after any kill."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.label.file import LabelFile
from burnish.run import UserError

DATA = "d" * 64


def record(number: int, **others: Any) -> dict[str, Any]:
    found = {"id": f"{number:08x}", "data": DATA, "prompt": f"p{number}", "a": "x", "b": "y", "rater": "anna"}
    return found | {"showing": 0, "verdict": "a"} | others


def test_answers_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "labels.jsonl"
    file = LabelFile(path, DATA)
    file.append(record(1))
    file.append(record(2, note="é\ud800"))
    file.close()
    again = LabelFile(path, DATA)
    assert [one["id"] for one in again.records] == ["00000001", "00000002"]
    assert again.ids == {"00000001": 0, "00000002": 1}
    assert [(vote.row, vote.verdict) for vote in again.votes] == [(0, "a"), (1, "a")]
    again.close()


@pytest.mark.parametrize("cut", [1, 40, 100, 150, 178, 179, 180, 181, 200])
def test_half_a_line_of_a_killed_writer_is_removed(tmp_path: Path, cut: int) -> None:
    """It was never confirmed, and the page sends it again; a whole line that lacks its end is kept."""
    first, second = (json.dumps(record(number)) + "\n" for number in (1, 2))
    path = tmp_path / "labels.jsonl"
    path.write_text(first + second[: min(cut, len(second) - 1)])
    file = LabelFile(path, DATA)
    whole = cut >= len(second) - 1
    assert len(file.records) == 1 + whole
    file.append(record(3))
    file.close()
    assert path.read_text() == first + second * whole + json.dumps(record(3)) + "\n"


def test_labels_of_other_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    file = LabelFile(path, DATA)
    file.append(record(1))
    file.close()
    with pytest.raises(UserError, match=r"has labels of other data \(checksum dddddddddddd, not eeeeeeeeeeee\)"):
        LabelFile(path, "e" * 64)
    LabelFile(path, DATA).close()  # nothing is locked


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "labels.jsonl", DATA)
    with pytest.raises(UserError, match="in use by another burnish label"):
        LabelFile(tmp_path / "labels.jsonl", DATA)
    file.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{]\n", "line 1, is not JSON"),
        ("[]\n", "line 1, is not a label"),
        ('{"verdict": 1}\n', "row 0: column `verdict`"),
    ],
)
def test_a_file_that_is_not_of_labels_is_refused_and_left_alone(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        LabelFile(path, DATA)
    assert path.read_text() == text
    with pytest.raises(UserError, match="is a folder"):
        LabelFile(tmp_path, DATA)


def test_what_cannot_be_synced_is_not_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.jsonl"
    file = LabelFile(path, DATA)
    file.append(record(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"No space left on device\): make room there; the answer is kept"):
            file.append(record(2))
    assert len(file.records) == 1
    file.append(record(2))
    file.close()
    assert len(path.read_text().splitlines()) == 2
