"""Labels: how often which text is preferred, which pairs are left out, and what methods read of them."""

import math

import numpy as np
import pytest

from burnish.recipes.study.labels import comparisons, demonstrations, feedback, labelled, preferred


def test_the_probability_by_hand() -> None:
    """σ(ln 3) = 3/4."""
    assert preferred(1.0, 1.0, 0.5) == 0.5
    assert preferred(math.log(3), 0.0, 1.0) == pytest.approx(0.75)
    assert preferred(0.5 * math.log(3), 0.0, 0.5) == pytest.approx(0.75)
    assert preferred(0.0, 0.5 * math.log(3), 0.5) == pytest.approx(0.25)


def test_labels_are_bernoulli_draws() -> None:
    """With σ(difference/scale) = 3/4, of 4,000 labels 3,000 agree, with a standard deviation of 27."""
    n = 4000
    scores = np.tile([0.5 * math.log(3), 0.0], (n, 1))
    pairs = labelled(["p"] * n, [["a", "b"]] * n, [[True, True]] * n, scores, 0.5, 7)
    assert len(pairs) == n
    agreed = sum(one["chosen"] == "a" for one in pairs)
    assert abs(agreed - 3000) < 4 * 27.4
    assert agreed == sum(one["right"] for one in pairs)


def test_four_completions_are_six_pairs_and_certain_labels_follow_the_scores() -> None:
    scores = np.array([[0.0, 3.0, 1.0, 2.0]])
    pairs = labelled(["p"], [list("abcd")], [[True] * 4], scores, 1e-3, 0)
    assert {(one["chosen"], one["rejected"]) for one in pairs} == {
        ("b", "a"), ("c", "a"), ("d", "a"), ("b", "c"), ("b", "d"), ("d", "c")
    }  # fmt: skip
    assert all(one["right"] and one["prompt"] == "p" for one in pairs)


def test_pairs_apart_share_no_completion() -> None:
    """Of five completions the first four are two pairs; the fifth has no other."""
    scores = np.array([[0.0, 3.0, 2.0, 1.0, 9.0]])
    pairs = labelled(["p"], [list("abcde")], [[True] * 5], scores, 1e-3, 0, apart=True)
    assert [(one["chosen"], one["rejected"]) for one in pairs] == [("b", "a"), ("c", "d")]


def test_what_is_left_out_does_not_change_the_other_labels() -> None:
    scores, every = np.zeros((1, 4)), [[True] * 4]
    whole = labelled(["p"], [list("abcd")], every, scores, 1.0, 3)
    fewer = labelled(["p"], [list("abcd")], [[True, False, True, True]], scores, 1.0, 3)
    assert len(fewer) == 3
    assert [one for one in whole if "b" not in (one["chosen"], one["rejected"])] == fewer
    same = labelled(["p"], [list("aacd")], every, scores, 1.0, 3)
    assert len(same) == 5


def test_what_methods_read() -> None:
    pairs = [{"prompt": "p", "chosen": "c", "rejected": "r", "right": False}]
    assert comparisons(pairs) == [{"prompt": "p", "chosen": "c", "rejected": "r"}]
    assert feedback(pairs) == [
        {"prompt": "p", "completion": "c", "label": True},
        {"prompt": "p", "completion": "r", "label": False},
    ]
    assert demonstrations(pairs) == [{"prompt": "p", "completion": "c"}]
