"""The gold judge recovers known weights, judges each text alone, and agrees with people on reviews it has not seen."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from burnish.data import builtin
from burnish.rewards.gold import (
    GoldJudge,
    cross_validated,
    lexicon_features,
    negated,
    quality,
    word_ngrams,
    words,
)
from burnish.run import UserError

VALENCE = {"superb": 2.0, "lovely": 1.0, "plain": 0.0, "dull": -1.0, "dire": -2.0}
FILLER = ["camera", "story", "actor", "music", "scene", "ending", "costume", "dialogue"]


def made_up(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of six words, and the sum of their words' known valences: the score of a perfect judge."""
    rng = np.random.default_rng(seed)
    vocabulary = [*VALENCE, *FILLER]
    drawn = [[vocabulary[i] for i in rng.integers(0, len(vocabulary), 6)] for _ in range(n)]
    distinct = [sorted(set(row)) for row in drawn]
    targets = np.array([sum(VALENCE.get(word, 0.0) for word in row) for row in distinct])
    return [" ".join(row) for row in drawn], np.clip(targets, -4, 4)


@pytest.fixture(scope="module")
def judge() -> GoldJudge:
    return GoldJudge.fit(*made_up(400, 0))


def test_words_and_negation() -> None:
    """A negation reaches three words, and not past `but`."""
    assert words("It isn’t GOOD, but funny!") == ["it", "isn't", "good", "but", "funny", "!"]
    assert negated(["isn't", "a", "very", "good", "funny", "film"]) == [False, True, True, True, False, False]
    assert negated(["not", "good", "but", "funny"]) == [False, True, False, False]
    assert word_ngrams("not good") == ["not", "¬good", "not ¬good"]


def test_lexicon_features_by_hand() -> None:
    """`good, not bad but dull dull`: plain +2 (good), plain −1 (dull, once), negated −3 (bad); after `but` −1.

    Five distinct words, so all sums over √6: good, not, bad, but, dull. Then the largest and smallest plain valence.
    """
    lexicon = {"good": 2.0, "bad": -3.0, "dull": -1.0}
    root = 6**0.5
    expected = [2 / root, -1 / root, 0.0, -3 / root, -1 / root, 2.0, -1.0]
    assert lexicon_features("good, not bad but dull dull", lexicon) == pytest.approx(expected)
    assert lexicon_features("", lexicon) == [0.0] * 7


def test_known_weights_are_recovered(judge: GoldJudge) -> None:
    texts, targets = made_up(200, 1)
    scores = judge.score(texts)
    assert np.corrcoef(scores, targets)[0, 1] > 0.95
    order = judge.score([f"camera story {word} music scene" for word in VALENCE])
    assert list(np.argsort(order)[::-1]) == [0, 1, 2, 3, 4]


def test_the_same_data_give_the_same_bits(judge: GoldJudge) -> None:
    texts, _ = made_up(50, 2)
    assert_array_equal(GoldJudge.fit(*made_up(400, 0)).score(texts), judge.score(texts))


def test_a_score_does_not_depend_on_the_other_texts(judge: GoldJudge) -> None:
    texts, _ = made_up(50, 3)
    together = judge.score(texts)
    assert_array_equal(np.concatenate([judge.score([text]) for text in texts]), together)
    assert_array_equal(judge.score(texts[::-1]), together[::-1])


def test_scores_stay_on_the_raters_scale(judge: GoldJudge) -> None:
    texts = ["superb lovely " * 300, "dire dull " * 300, "", "?!", "naïve 電影", "superb " * 100_000]
    scores = judge.score(texts)
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() <= 4.0
    assert judge.score([]).shape == (0,)


def test_repeating_a_word_changes_nothing(judge: GoldJudge) -> None:
    """Two and a hundred times `lovely` have the same distinct n-grams, so they get the same score."""
    twice, often = judge.score(["lovely lovely", "lovely " * 100])
    assert twice == pytest.approx(often, abs=1e-12)


def test_a_lexicon_helps_with_words_never_seen() -> None:
    texts, targets = made_up(400, 0)
    judge = GoldJudge.fit(texts, targets, {**VALENCE, "glorious": 2.0, "ghastly": -2.0})
    up, down = judge.score(["camera glorious story", "camera ghastly story"])
    assert up > down


def test_invalid_arguments_are_an_error() -> None:
    with pytest.raises(ValueError, match="same length of at least 2, but there are"):
        GoldJudge.fit(["a", "b"], [1.0])
    with pytest.raises(ValueError, match="the mean of text 1 is not a finite number"):
        GoldJudge.fit(["a", "b"], [1.0, float("nan")])
    with pytest.raises(ValueError, match="a list of texts"):
        GoldJudge.fit(*made_up(50, 0)).score("one text")


def test_quality_by_hand() -> None:
    """Means are 2·scores + 1: correlation and rank correlation 1, slope 2. Reversed: −1 and −2."""
    scores = np.arange(40.0) ** 2
    same, reversed_ = quality(scores, 2 * scores + 1, 200), quality(scores, 1 - 2 * scores, 200)
    assert (same.correlation, same.spearman, same.slope, same.texts) == pytest.approx((1, 1, 2, 40))
    assert (reversed_.correlation, reversed_.spearman, reversed_.slope) == pytest.approx((-1, -1, -2))
    bent = quality(scores, scores**3, 200)  # the same order, but not linear
    assert bent.spearman == pytest.approx(1)
    assert bent.correlation < 0.99


def test_quality_interval_has_the_width_of_theory() -> None:
    """Of 1,000 normal pairs with ρ = 0.6, Fisher's interval is about 0.6 ± 1.96·(1 − 0.36)/√1000 = 0.6 ± 0.040."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 1_000))
    found = quality(x, 0.6 * x + 0.8 * noise)
    assert (found.high - found.low) / 2 == pytest.approx(0.040, abs=0.008)


@pytest.mark.slow
def test_it_judges_reviews_as_people_do() -> None:
    """Fitted on one split, against people's means on another: above 0.60 is what we asked for; VADER's rule has 0.42.

    The docs say 0.72 (0.70 to 0.74). And what a policy might try is worth little: function words, one word for ever.
    """
    try:
        gold, held_out, pairs = builtin.rated("gold"), builtin.rated("held_out"), builtin.comparisons("held_out")
    except UserError as error:
        pytest.skip(str(error))
    judge = GoldJudge.fit(list(gold["text"]), list(gold["mean"]), builtin.lexicon())
    found = quality(judge.score(list(held_out["text"])), list(held_out["mean"]))
    assert 0.70 < found.correlation < 0.75
    assert found.low > 0.68
    assert 0.9 < found.slope < 1.2
    right = judge.score(list(pairs["chosen"])) > judge.score(list(pairs["rejected"]))
    assert 0.72 < right.mean() < 0.82
    good, not_good, empty, ands, great, greats = judge.score(
        ["a good film", "not a good film", "", "and " * 30, "great", "great " * 50]
    )
    assert good > 0.5 > -0.5 > not_good
    assert abs(empty) < 0.5
    assert abs(ands) < 0.5
    assert abs(greats - great) < 0.1


def test_cross_validation_prefers_a_sensible_penalty() -> None:
    texts, targets = made_up(200, 0)
    found = cross_validated(texts, targets, None, [0.5, 1e6])
    assert found[0.5] > 0.8
    noise = np.random.default_rng(0).standard_normal(200)
    assert abs(cross_validated(texts, noise, None, [0.5])[0.5]) < 0.3
