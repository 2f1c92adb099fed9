"""Comparisons, prefixes and the ceiling never change, are drawn as documented, and keep the held-out part apart."""

import hashlib
import json
from collections import Counter

import pytest
from datasets import Dataset

from burnish.data import builtin
from burnish.run import UserError


@pytest.fixture(scope="module", autouse=True)
def real() -> None:
    try:
        builtin.corpus("film")
    except UserError as error:
        pytest.skip(str(error))


def fingerprint(data: Dataset) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the rows as JSON."""
    return hashlib.sha256(json.dumps(list(data), sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("train", 4_989, "8b2b2de7975d3228"),
        ("validation", 259, "55b6caa2809f6f78"),
        ("held_out", 650, "027bbd42f3126127"),
    ],
)
def test_comparisons_never_change(name: str, rows: int, expected: str) -> None:
    """A changed fingerprint means that no number measured before can be compared with one measured after."""
    data = builtin.comparisons(name)
    assert len(data) == rows
    assert fingerprint(data) == expected


@pytest.mark.parametrize(
    ("name", "rows", "expected"), [("train", 8_196, "ff8ed51df4abf725"), ("held_out", 1_456, "e25159e52d1a0955")]
)
def test_prefixes_never_change(name: str, rows: int, expected: str) -> None:
    data = builtin.prefixes(name)
    assert len(data) == rows
    assert fingerprint(data) == expected


def test_comparisons_have_trls_columns_and_the_texts_of_their_split() -> None:
    for name, part in (("train", "preferences"), ("validation", "validation"), ("held_out", "held_out")):
        texts = {snippet.id: snippet for snippet in builtin.split("film", part)}
        for row in builtin.comparisons(name):
            assert row["prompt"] == ""
            for side in ("chosen", "rejected"):
                snippet = texts[row[f"{side}_id"]]
                assert (row[side], row[f"{side}_mean"]) == (snippet.text, snippet.mean)


def test_one_rater_of_each_decides_and_ties_are_dropped() -> None:
    """The pairs without a row are exactly those whose drawn raters gave equal scores."""
    chosen_over = {(row["chosen_id"], row["rejected_id"]) for row in builtin.comparisons("train")}
    ties = 0
    for first, second in builtin.pairs("train"):
        one = first.ratings[builtin.draw_rater(first, second)]
        two = second.ratings[builtin.draw_rater(second, first)]
        ties += one == two
        assert ((first.id, second.id) in chosen_over) == (one > two)
        assert ((second.id, first.id) in chosen_over) == (two > one)
    assert ties > 0


def test_labels_carry_human_noise() -> None:
    """Some comparisons go against the means, as single raters do; most do not."""
    data = builtin.comparisons("train")
    against = sum(row["chosen_mean"] < row["rejected_mean"] for row in data) / len(data)
    assert 0.05 < against < 0.2


def test_raters_are_drawn_evenly() -> None:
    """Of snippets with 15 raters each place is drawn 1/15 of the time: χ² with 14 degrees, 99.9 % at 36.1."""
    drawn = Counter(
        builtin.draw_rater(a, b)
        for first, second in builtin.pairs("train")
        for a, b in ((first, second), (second, first))
        if len(a.ratings) == 15
    )
    expected = sum(drawn.values()) / 15
    assert sum((drawn[i] - expected) ** 2 / expected for i in range(15)) < 36.1


def test_held_out_pairs_use_each_snippet_once_and_train_pairs_four_times() -> None:
    for name, part, times in (
        ("held_out", "held_out", 1),
        ("validation", "validation", 1),
        ("train", "preferences", 4),
    ):
        used = Counter(snippet.id for pair in builtin.pairs(name) for snippet in pair)
        assert max(used.values()) == times
        assert sum(used.values()) >= times * len(builtin.split("film", part)) - 2 * times - 20  # odd ones, repeats
    pairs = [frozenset((a.id, b.id)) for a, b in builtin.pairs("train")]
    assert len(set(pairs)) == len(pairs)


def test_prefixes_are_beginnings_of_two_to_eight_words_with_three_to_go() -> None:
    data = builtin.prefixes("held_out")
    lengths = Counter()
    for row in data:
        words = row["prompt"].split(" ")
        assert row["text"].split(" ")[: len(words)] == words
        assert len(row["text"].split(" ")) >= len(words) + 3
        lengths[len(words)] += 1
    assert set(lengths) == set(range(2, 9))
    assert len(set(data["id"])) == len(data)


def test_the_first_prefixes_are_the_same_for_any_number() -> None:
    many = builtin.prefixes("held_out", 300)
    assert len(many) == 300
    assert list(builtin.prefixes("held_out", 20)) == list(many)[:20]
    with pytest.raises(ValueError, match="n is 2000, but held_out has 1456 prefixes; use 1 to 1456"):
        builtin.prefixes("held_out", 2_000)


def test_demonstrations_and_pretraining_texts_contain_no_held_out_text() -> None:
    held_out = set(builtin.demonstrations("held_out")["text"])
    assert len(held_out) == 1_510
    for name in ("train", "validation"):
        assert not held_out & set(builtin.demonstrations(name)["text"])
        assert not held_out & set(builtin.pretraining_texts()[name])
    assert len(builtin.demonstrations("train")) == 5_539 + 2_938
    assert {name: len(texts) for name, texts in builtin.pretraining_texts().items()} == {
        "train": 20_765,
        "validation": 1_343,
    }


def test_rated_gives_the_raters_means() -> None:
    snippet, row = builtin.split("film", "gold")[0], builtin.rated("gold")[0]
    assert row == {"id": snippet.id, "text": snippet.text, "mean": sum(snippet.ratings) / len(snippet.ratings)}


def test_agreement_leaves_the_labelling_raters_out() -> None:
    """Rater 0 of `a` says 3, the others mean 0; of `b` all say 1: the label is a > b, the others' order b > a.

    With rater 1 (who says 0) the label is b > a, while the others' mean is 1.5 > 1. Equal scores or means give None.
    """
    a, b = builtin.Snippet("a", "a", 1.0, (3, 0, 0)), builtin.Snippet("b", "b", 1.0, (1, 1, 1))
    assert builtin._agrees(a, b, 0, 0) is False
    assert builtin._agrees(a, b, 1, 0) is False
    assert builtin._agrees(b, b, 0, 1) is None
    c = builtin.Snippet("c", "c", 5 / 3, (3, 1, 1))
    assert builtin._agrees(c, b, 0, 0) is None
    assert builtin._agrees(c, builtin.Snippet("d", "d", -1.0, (-1, -1)), 0, 0) is True


def test_an_outcome_for_each_comparison() -> None:
    """Of the 650 held-out ones the other raters' means are equal in one."""
    outcomes = builtin.rater_outcomes("held_out")
    assert (len(outcomes), outcomes.count(None)) == (len(builtin.comparisons("held_out")), 1)
    assert outcomes.count(True) / 649 == builtin.human_ceiling().agreement


def test_wilson_interval_of_the_textbook() -> None:
    """81 of 263 (Newcombe 1998, table I): 0.2553 to 0.3662."""
    assert builtin._wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_single_raters_agree_with_the_other_raters_on_about_88_percent() -> None:
    """88 to 89 % was measured before, elsewhere, over random pairs; held-out pairs are few, their interval is wide."""
    many, few = builtin.human_ceiling(draws=5_000), builtin.human_ceiling()
    assert 0.87 < many.agreement < 0.90
    assert 600 < few.pairs <= 650
    assert few.low < few.agreement < few.high
    assert few.low < many.agreement < few.high


@pytest.mark.parametrize("make", [builtin.demonstrations, builtin.comparisons, builtin.prefixes])
def test_an_unknown_split_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(
        ValueError, match="the built-in data has no split 'test'; use one of train, validation, held_out"
    ):
        make("test")
