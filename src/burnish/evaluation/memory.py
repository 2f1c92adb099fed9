"""How much of a text was copied from the text that a model was trained on."""

from collections.abc import Iterable, Sequence

from burnish.evaluation.text import ngrams, words


def longest_copy(texts: Sequence[str], corpus: Iterable[str]) -> tuple[int, str]:
    """The longest run of words that one of `texts` shares with one text of `corpus`: its length and its words.

    (0, "") where no word is shared. The length over samples is to be read beside the length over unseen human texts,
    which share common phrases with the corpus too.
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
