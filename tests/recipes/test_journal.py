"""A file of records: tests/recipes/label/test_file.py breaks it in every way; here is what is the journal's own."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from burnish.recipes.journal import Journal
from burnish.run import UserError


class Numbers(Journal):
    command, record, remedy = "burnish count", "a number", "make room there"

    def check(self) -> None:
        if any(one.get("n") == 13 for one in self.records):
            raise UserError("13 is not counted")


def numbers(path: Path) -> list[Any]:
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


def test_records_are_kept_in_order_and_half_a_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "numbers.jsonl"
    file = Numbers(path)
    file.append({"n": 1})
    assert numbers(path) == [1]
    file.close()
    with path.open("a") as half:
        half.write('{"n": 2')
    file = Numbers(path)
    assert file.records == [{"n": 1}]
    file.append({"n": 3})
    file.close()
    assert numbers(path) == [1, 3]


def test_whoever_refuses_the_records_leaves_the_file_unlocked(tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    path.write_text('{"n": 13}\n')
    with pytest.raises(UserError, match="13 is not counted"):
        Numbers(path)
    path.write_text("[1]\n")
    with pytest.raises(UserError, match="line 1, is not a number: remove it"):
        Numbers(path)
    path.write_text('{"n": 1}\n')
    file = Numbers(path)
    with pytest.raises(UserError, match="in use by another burnish count: end it"):
        Numbers(path)
    file.close()


@pytest.mark.parametrize("rest", ['{"n": 2}', '{"n": 2'])
def test_a_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    """The last line lacks its end, or has half a record: the one is ended, the other removed."""
    path = tmp_path / "numbers.jsonl"
    path.write_text('{"n": 1}\n' + rest)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", full)
        with pytest.raises(UserError, match=r"numbers\.jsonl cannot be written \(No space left on device\): make room"):
            Numbers(path)
    file = Numbers(path)
    assert [one["n"] for one in file.records] == ([1, 2] if rest.endswith("}") else [1])
    file.close()
