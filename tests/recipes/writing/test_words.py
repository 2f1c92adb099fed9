"""The word lists have no entry twice or empty, and their templates only have places that are filled."""

import string

import pytest

from burnish.recipes.writing import words

LISTS = {name: value for name, value in vars(words).items() if name.isupper() and isinstance(value, list | tuple)}
PLACES = {"name", "name_2", "noun", "noun_2", "adjective", "place"}


def flat(value: object) -> list[str]:
    return [text for one in value for text in flat(one)] if isinstance(value, list | tuple) else [str(value)]


def test_listed_splits_at_bars_and_line_ends() -> None:
    assert words.listed("\na|b c\nd\n") == ["a", "b c", "d"]


@pytest.mark.parametrize("name", LISTS)
def test_every_entry_is_a_text_with_known_places(name: str) -> None:
    entries = flat(LISTS[name])
    assert all(entry == entry.strip() != "" for entry in entries)
    assert {field for entry in entries for _, field, _, _ in string.Formatter().parse(entry) if field} <= PLACES


def test_opinions_verdicts_and_openings_have_the_same_levels() -> None:
    assert len(words.OPINIONS) == len(words.VERDICTS) == len(words.OPENINGS) > 2
