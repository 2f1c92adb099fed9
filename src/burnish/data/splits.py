"""The fixed splits of the built-in corpora.

A snippet's place follows from its text alone: the SHA-256 of its letters and digits is a number in [0, 1), and each
split owns an interval. Snippets that are the same but for case, spacing and punctuation, and snippets that share a run
of eight words, form a group that stays together, across corpora too. Nothing here is random or ever drawn again.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

from burnish.data.corpora import Snippet, corpora

RUN = 8  # words in a row that two snippets must share to count as near duplicates

FILM_SPLITS = {"validation": (0.0, 0.057), "held_out": (0.057, 0.2), "preferences": (0.2, 0.473), "gold": (0.473, 1.0)}
OTHER_SPLITS = {"validation": (0.0, 0.057), "train": (0.057, 1.0)}  # as in film, so that twins stay together


def normalise(text: str) -> str:
    """Lower-case letters and digits only; a text without any stands for itself."""
    return "".join(c for c in text.casefold() if c.isalnum()) or text


def fraction(*parts: object) -> float:
    """A number in [0, 1) that looks random and follows from `parts` for ever: the first 52 bits of their SHA-256."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:8]) >> 12) / 2**52


def word_runs(text: str, length: int = RUN) -> set[tuple[str, ...]]:
    """Every run of `length` words of the text, without case, apostrophes and punctuation."""
    words = re.findall(r"[^\W_]+", re.sub("['’]", "", text.casefold()))
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def groups(texts: Iterable[str]) -> dict[str, str]:
    """Each normalised text -> the smallest normalised text of its group (near duplicates, and theirs, transitively)."""
    texts = list(texts)
    leader = {normalise(text): normalise(text) for text in texts}

    def find(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    first: dict[tuple[str, ...], str] = {}
    for text in texts:
        key = normalise(text)
        for run in word_runs(text):
            twin = first.setdefault(run, key)
            if twin != key:
                one, other = sorted((find(key), find(twin)))
                leader[other] = one  # the smaller leads, so that the order of the texts does not matter
    return {key: find(key) for key in leader}


def _place(bucket: float, splits: dict[str, tuple[float, float]]) -> str:
    return next(name for name, (low, high) in splits.items() if low <= bucket < high)


@cache
def _assign(all_corpora: tuple[tuple[str, tuple[Snippet, ...]], ...]) -> dict[tuple[str, str], tuple[Snippet, ...]]:
    group = groups(snippet.text for _, snippets in all_corpora for snippet in snippets)
    parts: dict[tuple[str, str], list[Snippet]] = defaultdict(list)
    held_out: set[str] = set()  # groups that hold a held-out film snippet; film comes first
    for name, snippets in all_corpora:
        for snippet in snippets:
            key = group[normalise(snippet.text)]
            place = _place(fraction(key), FILM_SPLITS if name == "film" else OTHER_SPLITS)
            if name == "film" and place == "held_out":
                held_out.add(key)
            if name != "film" and key in held_out:
                place = "left_out"  # its twin among the films must stay unseen
            parts[name, place].append(snippet)
    return {where: tuple(snippets) for where, snippets in parts.items()}


def split(corpus: str, name: str) -> list[Snippet]:
    """The snippets of one split of one corpus, in the order of the corpus.

    `film` has gold, preferences, validation and held_out; product, news and tweets have train and validation (and a few
    snippets are left_out: near duplicates of held-out film snippets).
    """
    everything = corpora()
    if corpus not in everything:
        raise ValueError(f"no corpus {corpus!r}: there are {', '.join(everything)}")
    known = FILM_SPLITS if corpus == "film" else {**OTHER_SPLITS, "left_out": ()}
    if name not in known:
        raise ValueError(f"no split {name!r} of {corpus}: there are {', '.join(known)}")
    return list(_assign(tuple(everything.items())).get((corpus, name), ()))
