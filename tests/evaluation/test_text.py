"""Every number here is counted by hand in the test's own lines."""

import pytest

from burnish.evaluation import text


def test_words_are_lower_cased_without_punctuation():
    assert text.words("It's a well-made, FUNNY film -- 10/10!") == [
        "it's",
        "a",
        "well-made",
        "funny",
        "film",
        "10",
        "10",
    ]
    assert text.words("l’été _under_score") == ["l’été", "under", "score"]
    assert text.words(" ... ") == []


def test_distinct_counts_over_all_texts_pooled():
    # bigrams: (a, b) (b, a) (a, b) | (a, b): 4 of them, 2 distinct
    assert text.distinct_n(["a b a b", "A b."]) == 2 / 4
    assert text.distinct_n(["a b a b", "a b"], n=1) == 2 / 6
    # no bigram (b, c) is made across the border
    assert text.distinct_n(["a b", "c d"]) == 1.0


def test_distinct_falls_as_the_sample_grows():
    assert text.distinct_n(["the film is good"] * 2) == 3 / 6
    assert text.distinct_n(["the film is good"] * 4) == 3 / 12


def test_distinct_without_ngrams_is_zero():
    assert text.distinct_n([]) == 0.0
    assert text.distinct_n(["one", ""]) == 0.0
    assert text.distinct_n(["one", ""], n=1) == 1.0


def test_repetition_within_one_text():
    # trigrams of "a b c a b c": abc bca cab abc: 4, of which 3 distinct
    assert text.repetition("a b c a b c") == 1 / 4
    assert text.repetition("good good good good good") == pytest.approx(2 / 3)
    assert text.repetition("never the same word twice here") == 0.0
    assert text.repetition("too short") == 0.0


def test_lengths_in_words():
    assert text.word_lengths(["A fine film.", "", "well-made"]) == [3, 0, 1]


def test_an_ngram_has_at_least_one_word():
    with pytest.raises(ValueError, match="at least one word"):
        text.distinct_n(["a b"], n=0)
