"""The file of written text: what is packed comes back, and the one that ships is the one that is noted."""

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


def test_the_parts_that_ship_are_those_that_are_noted() -> None:
    """Their checksums stand in the code and beside them, with where they come from; texts are whole sentences, and
    none is there twice."""
    paths, facts = written.part_paths(), written.shipped_facts()
    assert [one["sha256"] for one in facts] == list(written.CHECKSUMS)
    for path, one in zip(paths, facts, strict=True):
        texts = written.unpack(path)
        assert one["counts"]["kept"] == len(texts)
        assert one["words"]["kept"] == sum(len(text.split()) for text in texts)
        assert all(text.rstrip("\"'”’)")[-1] in ".!?" for text in texts)
    assert len(written.shipped()) == len(set(written.shipped()))
    assert len({name for one in facts for name in one["shards"]}) == sum(len(one["shards"]) for one in facts)
    assert sum(path.stat().st_size for path in paths) < 6 * 2**20


def test_a_shard_ships_if_the_recipe_is_the_same_apart_from_arithmetic() -> None:
    first = written.shipped_facts()[0]
    recipe = first["written_with"]
    assert set(first["shards"]) <= written.shipped_shards(recipe | {"dtype": "float16", "torch": "9"})
    assert not written.shipped_shards(recipe | {"seed": 1})
