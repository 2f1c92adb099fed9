"""The fixed splits of the built-in corpora.

A snippet's split depends only on its text: the SHA-256 of its letters and digits is a number in [0, 1), and each split
is an interval. Snippets that differ only in case, spacing and punctuation, and snippets that share a run of eight
words, form a group that stays together, across corpora too. Nothing here is random.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from burnish.data.corpora import FILES, Snippet, archive, corpora_of

RUN = 8  # snippets that share this many consecutive words are near duplicates

FILM_SPLITS = {"validation": (0.0, 0.057), "held_out": (0.057, 0.2), "preferences": (0.2, 0.473), "gold": (0.473, 1.0)}
OTHER_SPLITS = {"validation": (0.0, 0.057), "train": (0.057, 1.0)}  # as in film, so that near duplicates stay together


def normalise(text: str) -> str:
    """The text's letters and digits in lower case; a text without any is returned unchanged."""
    return re.sub(r"[\W_]+", "", text.casefold()) or text


def fraction(*parts: object) -> float:
    """A pseudorandom number in [0, 1) that depends only on `parts`: the first 52 bits of their SHA-256."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:8]) >> 12) / 2**52


def word_runs(text: str, length: int = RUN) -> set[tuple[str, ...]]:
    """Every run of `length` words of the text, in lower case, without apostrophes and punctuation."""
    words = re.findall(r"[^\W_]+", re.sub("['’]", "", text.casefold()))
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def groups(texts: Iterable[str]) -> dict[str, str]:
    """Map each normalised text to the smallest one of its group (near duplicates, transitively)."""
    keys = [(text, normalise(text)) for text in texts]
    leader = {key: key for _, key in keys}

    def find(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    first: dict[tuple[str, ...], str] = {}
    for text, key in keys:
        for run in word_runs(text):
            twin = first.setdefault(run, key)
            if twin != key:
                one, other = sorted((find(key), find(twin)))
                leader[other] = one  # the smaller one, so that the order of the texts does not matter
    return {key: find(key) for key in leader}


def _place(bucket: float, splits: dict[str, tuple[float, float]]) -> str:
    return next(name for name, (low, high) in splits.items() if low <= bucket < high)


@cache
def _assigned(path: Path) -> dict[tuple[str, str], tuple[Snippet, ...]]:
    """The parts of all corpora of an archive, by the names of the corpus and of the split."""
    all_corpora = corpora_of(path).items()
    group = groups(snippet.text for _, snippets in all_corpora for snippet in snippets)
    parts: dict[tuple[str, str], list[Snippet]] = defaultdict(list)
    held_out: set[str] = set()  # groups with a held-out film snippet; film comes first
    for name, snippets in all_corpora:
        for snippet in snippets:
            key = group[normalise(snippet.text)]
            place = _place(fraction(key), FILM_SPLITS if name == "film" else OTHER_SPLITS)
            if name == "film" and place == "held_out":
                held_out.add(key)
            if name != "film" and key in held_out:
                place = "left_out"  # its near duplicate among the films must stay unseen
            parts[name, place].append(snippet)
    return {where: tuple(snippets) for where, snippets in parts.items()}


def split(corpus: str, name: str) -> list[Snippet]:
    """The snippets of one split of one corpus, in the order of the corpus.

    `film` has gold, preferences, validation and held_out; product, news and tweets have train and validation, and
    left_out with their few near duplicates of held-out film snippets.
    """
    if corpus not in FILES:
        raise ValueError(f"there is no corpus {corpus!r}; use one of {', '.join(FILES)}")
    known = FILM_SPLITS if corpus == "film" else {**OTHER_SPLITS, "left_out": ()}
    if name not in known:
        raise ValueError(f"{corpus} has no split {name!r}; use one of {', '.join(known)}")
    return list(_assigned(archive().resolve()).get((corpus, name), ()))
