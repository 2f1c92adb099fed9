"""The judge of film reviews: fitted once, on reviews of the gold split alone, and right about clear ones."""

import numpy as np

from burnish.data import builtin
from burnish.recipes.gold import gold_judge


def test_the_judge_is_fitted_once() -> None:
    assert gold_judge() is gold_judge()


def test_clear_reviews_have_clear_scores() -> None:
    """On the raters' scale from −4 to 4."""
    good, bad, neither = gold_judge().score(["A wonderful, moving film.", "A dull, awful mess.", "There is a film."])
    assert 4 >= good > 1 > neither > -1 > bad >= -4


def test_the_judge_agrees_with_the_raters_whose_reviews_it_was_fitted_on() -> None:
    """And its scores are no constant: a constant would correlate with nothing."""
    snippets = builtin.split("film", "gold")[:500]
    scores = np.asarray(gold_judge().score([one.text for one in snippets]))
    assert np.corrcoef(scores, [one.mean for one in snippets])[0, 1] > 0.8
