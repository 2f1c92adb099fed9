"""The file of written text: what is packed comes back, and the one that ships is the one that is noted."""

import json
from pathlib import Path

import pytest

from burnish.data import written
from burnish.run import UserError

TEXTS = ["A film about a dog.", "“Café,” he said — and left."]


def test_texts_come_back_and_the_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(written.pack(TEXTS))
    assert written.unpack(tmp_path / "packed") == TEXTS
    assert written.pack(TEXTS) == (tmp_path / "packed").read_bytes()
    (tmp_path / "empty").write_bytes(written.pack([]))
    assert written.unpack(tmp_path / "empty") == []


@pytest.mark.parametrize("text", ["", "one\ntwo", "one\u2028two"])
def test_a_text_that_is_not_one_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a text has to be one line"):
        written.pack(["fine", text])


@pytest.mark.parametrize("cut", [0, 30])
def test_a_damaged_file_is_an_error_that_names_it(cut: int, tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(written.pack(TEXTS)[: -cut or None] if cut else b"text")
    with pytest.raises(UserError, match="packed cannot be read"):
        written.unpack(tmp_path / "packed")


def test_the_file_that_ships_is_the_one_that_is_noted() -> None:
    """Its checksum stands in the code and beside it, with where it comes from; it is small and has whole sentences."""
    path = written.shipped()
    facts = json.loads(path.with_name("written.json").read_text("utf-8"))
    texts = written.unpack(path)
    assert facts["sha256"] == written.SHA256
    assert facts["counts"]["kept"] == len(texts) == len(set(texts))
    assert facts["words"]["kept"] == sum(len(text.split()) for text in texts)
    assert path.stat().st_size < 6 * 2**20
    assert all(text.rstrip("\"'”’)")[-1] in ".!?" for text in texts)
