"""Lines are encoded, written whole or not at all, and found where they end."""

import json
import math
import os
from pathlib import Path

import pytest

from burnish.run import UserError
from burnish.run.lines import encoded, ends_line, is_at, write_whole


def test_a_line_is_json_with_null_for_what_json_lacks() -> None:
    line = encoded({"a": [math.nan, -math.inf, 0.1], "b": {"c": "é\ud800"}})
    assert line.endswith(b"\n")
    assert json.loads(line) == {"a": [None, None, 0.1], "b": {"c": "é\ud800"}}
    assert encoded({"b": "é"}) == '{"b": "é"}\n'.encode()


def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    write_whole(descriptor, b"one\n")
    write = os.write
    room = iter([2])

    def full(where: int, what: bytes) -> int:
        for count in room:
            return write(where, what[:count])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(descriptor, b"two\n")
    os.close(descriptor)
    assert path.read_bytes() == b"one\n"


def test_where_a_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo\n")
    assert [ends_line(path, length) for length in (3, 4, 8, 9)] == [False, True, True, False]
    assert not ends_line(tmp_path / "y", 1)
    with pytest.raises(UserError, match="cannot be read"):
        ends_line(tmp_path, 1)


def test_whether_a_file_is_still_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("w") as file:
        assert is_at(file.fileno(), path)
        path.rename(tmp_path / "y")
        assert not is_at(file.fileno(), path)
        path.touch()
        assert not is_at(file.fileno(), path)
        assert not is_at(file.fileno(), path / "z")
