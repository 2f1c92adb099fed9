"""The training text has no held-out review in it, each part as often as is stated, and stays the same once begun."""

import json
from pathlib import Path

import pytest

from burnish.cache import cache_folder
from burnish.data import builtin, corpora, wordnet, written
from burnish.evaluation.text import ngrams, words
from burnish.recipes.writing import text as whole
from burnish.run import UserError, sha256

PLAIN = "The film begins well, but the jokes fall flat and the ending is a mess."


@pytest.fixture(scope="module")
def real() -> None:
    for archive in (corpora.SOURCE, wordnet.ARCHIVE):
        if not (cache_folder() / archive.name).exists():
            pytest.skip(f"{archive.name} is not in the cache folder")


@pytest.fixture
def part_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part ships: reading and packing all of them takes long, and is the same."""
    monkeypatch.setattr(written, "CHECKSUMS", written.CHECKSUMS[:1])


def test_a_text_near_a_review_or_another_text_is_left_out() -> None:
    """The second has eight words of the review in a row, the third is the other review, the last the first again."""
    reviews = ["a film of great beauty that nobody will want to see twice", "Harmless fun."]
    others = ["It is a film of great beauty that nobody will forget.", "harmless fun", PLAIN.lower()]
    assert whole.apart([PLAIN, *others], reviews) == [PLAIN]


def test_a_text_with_a_word_that_does_not_exist_is_left_out() -> None:
    texts = ["A dull film", "a dulll film", "The film's dull", "2 films?"]
    assert whole.existing(texts, {"a", "dull", "film", "the"}.__contains__) == ["A dull film", "The film's dull"]


def test_an_epoch_has_each_text_as_often_as_its_weight_says() -> None:
    found = whole.epoch({"written": ["a", "b"], "film": ["c"], "product": ["d"], "tweets": ["e"]})
    assert found == ["a", "b", "c", "c", "c", "d", "d", "e"]


def test_no_training_text_is_or_copies_a_held_out_review(real: None) -> None:
    """All parts, as they are read: no review itself, and no run of eight of its words."""
    reviews = whole.held_out()
    runs = {run for review in reviews for run in ngrams(words(review), 8)}
    exact = {tuple(words(review)) for review in reviews}
    found = whole.parts([PLAIN, reviews[0], f"They say: {max(reviews, key=len)}"])
    assert list(found) == list(whole.WEIGHTS)
    assert found["written"] == [PLAIN]
    for texts in found.values():
        for said in map(words, texts):
            assert tuple(said) not in exact
            assert runs.isdisjoint(ngrams(said, 8))
    people = {text for name in ("film", "product", "news", "tweets") for text in found[name]}
    exists = whole.dictionary()
    assert people == {t for t in builtin.pretraining_texts()["train"] if all(map(exists, whole.spelled(t)))}
    assert len(people) > 17_000


def folder_of(path: Path, texts: list[str]) -> Path:
    path.mkdir(exist_ok=True)
    (path / "recipe.json").write_text('{"seed": 0}')
    rows = [{"kind": "review", "text": text} for text in texts]
    (path / "shard-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_training_keeps_the_text_that_it_began_with(real: None, part_0: None, tmp_path: Path) -> None:
    """What ships, and then the new shard's text; a text that ships is not taken twice."""
    ships = written.shipped()
    shards, out = folder_of(tmp_path / "text", [PLAIN + " And", "no end", ships[0]]), tmp_path / "out"
    out.mkdir()
    assert whole.freeze(out, shards) == [*ships, PLAIN]
    facts = json.loads((out / "written.json").read_text())
    assert facts["parts"][:-1] == written.shipped_facts()
    new = facts["parts"][-1]
    assert new["shards"] == {"shard-00000.jsonl": sha256(shards / "shard-00000.jsonl")}
    assert (new["written_with"], new["words"]["kept"]) == ({"seed": 0}, 15)
    assert (new["counts"]["kept"], new["counts"]["short"], new["counts"]["duplicate"]) == (1, 1, 1)
    folder_of(shards, ["The cast is good and the story is told with great care."])
    assert whole.freeze(out, shards) == whole.freeze(out, None) == [*ships, PLAIN]
    (out / "written.txt.xz").write_bytes(written.pack(["other"]))
    with pytest.raises(UserError, match=r"written\.txt\.xz is not the file that .*written\.json describes"):
        whole.freeze(out, shards)


def test_without_a_folder_the_text_that_ships_is_read(part_0: None, tmp_path: Path) -> None:
    assert whole.freeze(tmp_path, None) == written.shipped() == written.unpack(tmp_path / "written.txt.xz")
    assert json.loads((tmp_path / "written.json").read_text())["parts"] == written.shipped_facts()


def test_a_folder_that_nothing_was_written_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"seed": 0}')
    with pytest.raises(UserError, match="has no shard-00000"):
        whole.part(tmp_path)


def test_shards_that_ship_are_not_read_again(tmp_path: Path) -> None:
    """The recipe is the one that ships, computed in another dtype."""
    recipe = written.shipped_facts()[0]["written_with"] | {"dtype": "float16"}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    (tmp_path / "shard-00000.jsonl").write_text("")
    with pytest.raises(UserError, match=r"all shards in .* come with Burnish"):
        whole.part(tmp_path)
