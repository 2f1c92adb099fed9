"""Statistics of text that reveal degeneration: distinct n-grams, repetition and length.

A word is a lower-cased run of letters, digits, apostrophes and hyphens; punctuation is ignored.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(text: str) -> list[str]:
    """The lower-cased words of a text: `"It's well-made!"` has two."""
    return _WORD.findall(text.lower())


def ngrams(items: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """All n-grams of a sequence, max(0, len − n + 1) of them. Raises ValueError for n < 1."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one word, not {n}")
    return (tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def distinct_n(texts: Iterable[str], n: int = 2) -> float:
    """Distinct n-grams / all n-grams, pooled over the texts; no n-gram spans two texts.

    Between 0 and 1; 0 if no text has n words. It falls as the sample grows, because language repeats itself: compare it
    only between equally many texts of similar length.

    Source: Li et al. (2016), "A Diversity-Promoting Objective Function for Neural Conversation Models".
    Differs: they divide by the number of words; dividing by the number of n-grams gives 1 for texts that repeat
    nothing.
    """
    found = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(found)) / len(found) if found else 0.0


def repetition(text: str, n: int = 3) -> float:
    """Fraction of a text's n-grams that occurred before in it, 1 − distinct / all; 0 if it has fewer than n words."""
    found = list(ngrams(words(text), n))
    return 1 - len(set(found)) / len(found) if found else 0.0


def word_lengths(texts: Iterable[str]) -> list[int]:
    """Number of words of each text."""
    return [len(words(text)) for text in texts]
