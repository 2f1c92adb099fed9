"""Memorisation: how much of a generated text was copied from the training data."""

from collections.abc import Iterable, Sequence

from burnish.evaluation.text import ngrams, words


def longest_copy(texts: Sequence[str], corpus: Iterable[str]) -> tuple[int, str]:
    """The longest run of words that one of `texts` shares with one text of `corpus`: its length and its words.

    (0, "") if no word is shared. Compare the length for samples with the length for unseen human texts, because these
    share common phrases with the corpus too.
    """
    sources = [words(text) for text in corpus]
    candidates = [words(text) for text in texts]
    best: tuple[str, ...] = ()
    while True:
        length = len(best) + 1
        known = {run for source in sources for run in ngrams(source, length)}
        found = next((run for text in candidates for run in ngrams(text, length) if run in known), None)
        if found is None:
            return len(best), " ".join(best)
        best = found
