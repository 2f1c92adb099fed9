"""Which words exist: those of WordNet with their inflections, and those that several texts of people have."""

from collections.abc import Callable, Collection
from functools import cache

from burnish.data import builtin, wordnet
from burnish.evaluation.english import vocabulary

FEWEST_TEXTS = 2
"""A word that one text alone has may be misspelled."""


def dictionary(more: Collection[str] = ()) -> Callable[[str], bool]:
    """Whether a word, as `spelled` gives it, exists; the words of `more` do too.

    WordNet has nouns, verbs, adjectives and adverbs: "the" and "with" come from the training texts of the four corpora
    and from WordNet's examples.
    """
    lemmas = wordnet.lemmas()
    common = vocabulary([*builtin.pretraining_texts()["train"], *wordnet.examples()], FEWEST_TEXTS) | frozenset(more)
    return cache(lambda word: word in common or wordnet.is_form_of(word, lemmas))


def with_words(exists: Callable[[str], bool], more: Collection[str]) -> Callable[[str], bool]:
    """A dictionary that has the words of `more` too."""
    return lambda word: word in more or exists(word)
