"""The best of n from a pool whose subsets can be counted by hand."""

import math

import numpy as np
import pytest

from burnish.recipes.study.best import best_point
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.measure import Completions


def test_the_best_of_n_has_the_gold_scores_of_what_the_reward_model_picks() -> None:
    """Of 3 completions the reward model likes the last best. Of two of them, drawn at random, the third is there in two
    of three cases, and else the second is the better one."""
    texts = ["A bad film.", "A film.", "A wonderful film."]
    drawn = Completions([[1]] * 3, [[5, 6], [5], [5, 6, 7]], [[0.0]] * 3, texts, texts, [True, True, False])
    proxy = np.array([[0.0, 1.0, 2.0]])
    gold = study_judge().score(texts)
    two, three = (best_point(n, drawn, proxy, gold.reshape(1, 3)) for n in (2, 3))
    assert two["gold"] == pytest.approx([(2 * gold[2] + gold[1]) / 3], abs=1e-5)
    assert three["gold"] == pytest.approx([gold[2]], abs=1e-5)
    assert (two["length"], three["length"]) == pytest.approx(((2 * 3 + 1) / 3, 3.0))
    assert (two["ended"], three["ended"]) == pytest.approx((1 / 3, 0.0))
    assert (two["kl"], three["kl"]) == ([math.log(2) - 1 / 2], [math.log(3) - 2 / 3])
