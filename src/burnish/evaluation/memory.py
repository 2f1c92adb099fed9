"""How much of a text was copied from the text that a model was trained on."""

import re
from collections.abc import Iterable, Sequence


def word_list(text: str) -> list[str]:
    """Lower-case words without punctuation, so that a copy with another comma still is one."""
    return re.findall(r"[a-z0-9']+", text.lower())


def longest_copy(texts: Sequence[str], corpus: Iterable[str]) -> tuple[int, str]:
    """The longest run of words that one of `texts` shares with one text of `corpus`: its length and its words.

    (0, "") where no word is shared. The length over samples is to be read beside the length over unseen human texts,
    which share common phrases with the corpus too.
    """
    sources = [word_list(text) for text in corpus]
    candidates = [word_list(text) for text in texts]
    best: tuple[str, ...] = ()
    while True:
        length = len(best) + 1
        known = {run for words in sources for run in runs(words, length)}
        found = next((run for words in candidates for run in runs(words, length) if run in known), None)
        if found is None:
            return len(best), " ".join(best)
        best = found


def runs(words: list[str], length: int) -> Iterable[tuple[str, ...]]:
    """All runs of `length` words."""
    return zip(*(words[i:] for i in range(length)), strict=False)
