"""Near duplicates stay together, and no text of the held-out part is anywhere else."""

import hashlib

import pytest

from burnish.data import splits
from burnish.data.corpora import FILES, archive
from burnish.run import UserError

NINE = "one two three four five six seven eight nine"


@pytest.fixture(scope="module", autouse=True)
def real() -> None:
    try:
        archive()
    except UserError as error:
        pytest.skip(str(error))


def test_normalise_keeps_letters_and_digits() -> None:
    assert splits.normalise("It's a 5-star CAFÉ!") == "itsa5starcafé"
    assert splits.normalise("!?") == "!?"


def test_fraction_is_the_first_13_hex_digits_of_the_hash() -> None:
    """52 bits are 13 hexadecimal digits."""
    expected = int(hashlib.sha256(b"a\x1f7").hexdigest()[:13], 16) / 16**13
    assert splits.fraction("a", 7) == expected
    assert 0 <= expected < 1


def test_word_runs_ignore_case_and_marks() -> None:
    assert splits.word_runs("Don’t, STOP now", 2) == {("dont", "stop"), ("stop", "now")}
    assert splits.word_runs("too short") == set()


def test_groups_join_runs_of_eight_words_transitively_in_any_order() -> None:
    """`middle` shares eight words with each end; the ends share only seven with each other."""
    left, middle, right = f"zero {NINE[:-5]}", NINE, f"{NINE[4:]} ten"
    lone = "one two three four five six seven apart"
    for texts in ([left, middle, right, lone], [lone, right, left, middle]):
        found = splits.groups(texts)
        assert len({found[splits.normalise(text)] for text in (left, middle, right)}) == 1
        assert found[splits.normalise(lone)] == splits.normalise(lone)
        assert found[splits.normalise(left)] == min(map(splits.normalise, (left, middle, right)))


def test_sizes_are_those_of_the_docs() -> None:
    film = {name: len(splits.split("film", name)) for name in splits.FILM_SPLITS}
    assert film == {"validation": 616, "held_out": 1_510, "preferences": 2_938, "gold": 5_539}
    others = {
        name: [len(splits.split(name, part)) for part in ("train", "validation", "left_out")]
        for name in FILES
        if name != "film"
    }
    assert others == {"product": [3_482, 215, 0], "news": [4_848, 270, 0], "tweets": [3_958, 242, 0]}


def test_no_text_and_no_run_of_eight_words_is_in_two_splits() -> None:
    """Held-out film against all the rest, and training against validation across corpora."""
    parts = {
        (c, p): splits.split(c, p) for c in FILES for p in (splits.FILM_SPLITS if c == "film" else splits.OTHER_SPLITS)
    }
    kinds: dict[str, set[object]] = {"held_out": set(), "validation": set(), "train": set()}
    for (_, part), snippets in parts.items():
        kind = part if part in kinds else "train"
        for snippet in snippets:
            kinds[kind] |= {splits.normalise(snippet.text)} | splits.word_runs(snippet.text)
    assert not kinds["held_out"] & kinds["train"]
    assert not kinds["held_out"] & kinds["validation"]
    assert not kinds["validation"] & kinds["train"]


def test_gold_and_preferences_share_no_text() -> None:
    gold, preferences = ({splits.normalise(s.text) for s in splits.split("film", n)} for n in ("gold", "preferences"))
    assert not gold & preferences


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(
        ValueError, match="film has no split 'test'; use one of validation, held_out, preferences, gold"
    ):
        splits.split("film", "test")
    with pytest.raises(ValueError, match="no corpus 'music'"):
        splits.split("music", "train")
