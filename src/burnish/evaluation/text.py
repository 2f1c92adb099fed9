"""What degenerate text looks like in numbers: few distinct n-grams, repeats, odd lengths.

A word is a lower-cased run of letters, digits, apostrophes and hyphens; punctuation is no word.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of a text, lower-cased: `"It's well-made!"` has two."""
    return _WORD.findall(text.lower())


def ngrams(items: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """All runs of n neighbours: max(0, len − n + 1) of them. Raises ValueError for n < 1."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one word, not {n}")
    return (tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def distinct_n(texts: Iterable[str], n: int = 2) -> float:
    """Distinct n-grams / all n-grams, over all the texts pooled; no n-gram crosses from one text to the next.

    Between 0 and 1; 0 where no text has n words. It falls as the sample grows, since language repeats itself: compare
    it only between equally many texts of about equal length.

    Source: Li et al. (2016), "A Diversity-Promoting Objective Function for Neural Conversation Models".
    Differs: they divide by the number of words; dividing by the number of n-grams keeps 1 for texts that repeat
    nothing.
    """
    found = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(found)) / len(found) if found else 0.0


def repetition(text: str, n: int = 3) -> float:
    """The share of a text's n-grams that occurred before in it: 1 − distinct / all; 0 for a text without n words."""
    found = list(ngrams(words(text), n))
    return 1 - len(set(found)) / len(found) if found else 0.0


def word_lengths(texts: Iterable[str]) -> list[int]:
    """How many words each text has."""
    return [len(words(text)) for text in texts]
