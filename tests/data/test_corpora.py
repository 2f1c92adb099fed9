"""The files of the archive are parsed as their authors meant."""

import io
import tarfile
from pathlib import Path

import pytest

from burnish.data import corpora
from burnish.run import UserError

TEXTS = (
    b"\xef\xbb\xbf1_1\t9.9\tTom &amp;amp; Jerry, ''caf\xc3\xa9''\r\n"  # byte order mark, UTF-8, escaped twice
    b"1_2\t0.5\ta  caf\xe9&nbsp;noir \r\n"  # Latin-1, two spaces, a no-break space
    b"1_3\t0.5\ta caf\xc3\xa9 noir\r\n"  # the same text again
)
RATINGS = b"\xef\xbb\xbf1_2\t0\t0\t[0, 1, 2, -4]\r\n1_3\t0\t0\t[4]\r\n1_1\t9.9\t0\t[3, 4]\r\n"  # in another order


@pytest.fixture(scope="module")
def real() -> Path:
    """The real archive, from the cache folder or downloaded; without network and cache the test is skipped."""
    try:
        return corpora.archive()
    except UserError as error:
        pytest.skip(str(error))


def test_lines_are_utf8_if_valid_otherwise_latin1() -> None:
    assert corpora.decode("née".encode()) == "née"
    assert corpora.decode("née".encode("latin-1")) == "née"
    assert corpora.decode(b"\xef\xbb\xbf1_1") == "1_1"


def test_parse_joins_by_id_and_computes_the_mean_of_the_ratings() -> None:
    """(3 + 4) / 2 = 3.5 and (0 + 1 + 2 − 4) / 4 = −0.25, not the printed column; the third line is a repeat."""
    first, second = corpora.parse("x", TEXTS, RATINGS)
    assert first == corpora.Snippet("x/1_1", 'Tom & Jerry, "café"', 3.5, (3, 4))
    assert second == corpora.Snippet("x/1_2", "a café noir", -0.25, (0, 1, 2, -4))


def test_an_unknown_corpus_is_refused() -> None:
    with pytest.raises(ValueError, match="no corpus 'music'; use one of film, product, news, tweets"):
        corpora.corpus("music")


def test_the_corpora_are_as_large_as_published_less_repeated_texts(real: Path) -> None:
    """Hutto & Gilbert's own read-me counts 10,605, 3,708, 5,190 and 4,200; 2, 11, 72 and 0 repeat an earlier line."""
    assert {name: len(corpora.corpus(name)) for name in corpora.FILES} == {
        "film": 10_605 - 2,
        "product": 3_708 - 11,
        "news": 5_190 - 72,
        "tweets": 4_200,
    }


def test_texts_are_clean_and_ratings_are_on_the_scale(real: Path) -> None:
    everything = [snippet for snippets in corpora.corpora().values() for snippet in snippets]
    assert len({snippet.id for snippet in everything}) == len(everything)
    for snippet in everything:
        assert snippet.text == " ".join(snippet.text.split())
        assert not {"\ufeff", "\ufffd", "Ã", "\xa0"} & set(snippet.text)
        assert "&amp;" not in snippet.text
        assert set(snippet.ratings) <= set(range(-4, 5))
        assert 15 <= len(snippet.ratings) <= 99


def test_means_are_those_the_authors_print_beside_the_ratings(real: Path) -> None:
    """The second column of the ratings' files is the authors' own mean, a number we do not use."""
    outer = tarfile.open(real)  # noqa: SIM115
    packed = outer.extractfile(corpora.RATINGS_ARCHIVE)
    assert packed is not None
    with outer, tarfile.open(fileobj=io.BytesIO(packed.read())) as inner:
        (member,) = [m for m in inner.getmembers() if m.name.endswith("movieReviewSnippets_anonDataRatings.txt")]
        file = inner.extractfile(member)
        assert file is not None
        printed = {f"film/{row[0]}": float(row[1]) for row in (line.decode().split("\t") for line in file)}
    for snippet in corpora.corpus("film"):
        assert snippet.mean == pytest.approx(printed[snippet.id], abs=1e-6)


def test_the_lexicon_has_the_values_its_authors_cite(real: Path) -> None:
    """Their read-me: good 1.9, okay 0.9, horrible −2.5, great 3.1."""
    found = corpora.lexicon()
    assert [found[word] for word in ("good", "okay", "horrible", "great")] == [1.9, 0.9, -2.5, 3.1]
