"""The built-in corpora: short texts with the ratings of every rater (Hutto & Gilbert 2014).

The data is part of the source archive of the package vaderSentiment 3.3.2, which pip downloads once into the cache
folder. The archive is never unpacked: it is checked against its SHA-256 and read on every use, so that no unpacked file
can be incomplete or edited.

Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text.
ICWSM-14.
"""

import html
import io
import json
import re
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from burnish.data.archives import Archive

SOURCE = Archive(
    *("vaderSentiment", "3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"),
    "The built-in data set",
)
FOLDER = f"{SOURCE.package}-{SOURCE.version}/"
RATINGS_ARCHIVE = f"{FOLDER}additional_resources/hutto_ICWSM_2014.tar.gz"
LEXICON = f"{FOLDER}vaderSentiment/vader_lexicon.txt"

FILES = {
    "film": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweets": "tweets",
}


@dataclass(frozen=True)
class Snippet:
    """A short text with its ratings by people: `ratings` are integers in −4…4, `mean` is their mean."""

    id: str
    text: str
    mean: float
    ratings: tuple[int, ...]


def archive() -> Path:
    """Path of the verified archive in the cache folder, see `Archive.path`."""
    return SOURCE.path()


def _member(packed: bytes, name: str) -> bytes:
    """The bytes of the file `name` in a gzipped tar archive."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        file = tar.extractfile(name)
        if file is None:
            raise ValueError(f"{name} is not a file")
        return file.read()


def lexicon() -> dict[str, float]:
    """VADER's sentiment lexicon, from the same archive: the mean valence of each token, −4…4, over ten raters."""
    return dict(_lexicon(archive().resolve()))


@cache
def _lexicon(path: Path) -> dict[str, float]:
    lines = _member(path.read_bytes(), LEXICON).decode("utf-8").splitlines()
    return {word: float(valence) for word, valence, *_ in (line.split("\t") for line in lines if line.strip())}


def clean(raw: str) -> str:
    """One snippet as plain text: HTML entities (some escaped twice) unescaped, '' as a double quote, single spaces."""
    text = html.unescape(html.unescape(raw)).replace("''", '"')
    return re.sub(r"\s+", " ", text).strip()


def decode(line: bytes) -> str:
    """Decode one line of the data: as UTF-8 (without a byte order mark) if it is valid, otherwise as Latin-1."""
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _rows(content: bytes) -> list[list[str]]:
    return [decode(line).split("\t") for line in content.replace(b"\r\n", b"\n").split(b"\n") if line.strip()]


def parse(name: str, texts: bytes, ratings: bytes) -> list[Snippet]:
    """The snippets of one corpus, from its files of texts and ratings, joined by the snippet's id.

    The mean is computed from the ratings, because the mean in the file of texts differs for some tweets. Of identical
    texts only the first is kept.
    """
    scores = {row[0]: tuple(json.loads(row[3])) for row in _rows(ratings)}
    snippets: dict[str, Snippet] = {}
    for key, _, raw in _rows(texts):
        text, given = clean(raw), scores[key]
        if text and text not in snippets:
            snippets[text] = Snippet(f"{name}/{key}", text, sum(given) / len(given), given)
    return list(snippets.values())


@cache
def corpora_of(path: Path) -> dict[str, tuple[Snippet, ...]]:
    """All four corpora from a verified archive, whose links are followed; parsed once per process."""
    inner = _member(path.read_bytes(), RATINGS_ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(inner), mode="r:gz") as tar:
        names = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}

        def read(name: str) -> bytes:
            file = tar.extractfile(names[name])
            assert file is not None
            return file.read()

        return {
            name: tuple(parse(name, read(f"{stem}_GroundTruth.txt"), read(f"{stem}_anonDataRatings.txt")))
            for name, stem in FILES.items()
        }


def corpora() -> dict[str, tuple[Snippet, ...]]:
    """All four corpora by name: `film`, `product`, `news`, `tweets`."""
    return corpora_of(archive().resolve())


def corpus(name: str) -> list[Snippet]:
    """One corpus in file order; `name` is film, product, news or tweets."""
    if name not in FILES:
        raise ValueError(f"there is no corpus {name!r}; use one of {', '.join(FILES)}")
    return list(corpora()[name])
