"""Words that one knows exist, in their inflections; words that a small model made up do not."""

import pytest

from burnish.cache import cache_folder
from burnish.data import corpora, wordnet
from burnish.recipes.writing.dictionary import dictionary


@pytest.fixture(scope="module", autouse=True)
def real() -> None:
    for archive in (corpora.SOURCE, wordnet.ARCHIVE):
        if not (cache_folder() / archive.name).exists():
            pytest.skip(f"{archive.name} is not in the cache folder")


def test_words_exist_and_invented_ones_do_not() -> None:
    exists = dictionary(["relatable"])
    assert all(map(exists, ["the", "with", "lighthouses", "stopped", "funnier", "don", "hollywood", "relatable"]))
    assert not any(map(exists, ["ahorst", "mislies", "plke", "unapologetiful"]))
