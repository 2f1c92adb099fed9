"""Labels: how often which text is preferred, which pairs are left out, and what methods read of them."""

import math

import numpy as np
import pytest

from burnish.recipes.study.labels import (
    comparisons,
    demonstrations,
    drawn_labels,
    feedback,
    labelled,
    preferred,
    unlabelled,
)


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


def test_the_gap_is_the_chosen_ones_score_less_the_others() -> None:
    (pair,) = labelled(["p"], [["a", "b"]], [[True, True]], np.array([[0.25, 2.0]]), 1e-3, 0)
    assert (pair["chosen"], pair["gap"], pair["right"]) == ("b", 1.75, True)


def test_pairs_without_labels_say_nothing_of_their_first_label() -> None:
    """The gap is that of the first text in order of the alphabet, whichever was chosen."""
    pairs = [
        {"prompt": "p", "chosen": "b", "rejected": "a", "right": True, "gap": 0.5},
        {"prompt": "p", "chosen": "c", "rejected": "d", "right": False, "gap": -2.0},
    ]
    assert unlabelled(pairs) == [
        {"prompt": "p", "first": "a", "second": "b", "gap": -0.5},
        {"prompt": "p", "first": "c", "second": "d", "gap": -2.0},
    ]


def test_seeds_draw_labels_of_their_own() -> None:
    """With σ(gap/scale) = 3/4, of 4,000 labels 3,000 are of the first, with a standard deviation of 27; two seeds give
    the same label with a probability of 9/16 + 1/16 = 5/8, so to 2,500 of them, with one of 31."""
    pairs = [{"prompt": "p", "first": "a", "second": "b", "gap": 0.5 * math.log(3)}] * 4000
    one, other = (drawn_labels(pairs, 0.5, (7, seed)) for seed in (0, 1))
    agreed = sum(label["chosen"] == "a" for label in one)
    assert abs(agreed - 3000) < 4 * 27.4
    assert agreed == sum(label["right"] for label in one)
    assert abs(sum(map(dict.__eq__, one, other)) - 2500) < 4 * 30.6
    assert drawn_labels(pairs, 0.5, (7, 0)) == one
    assert drawn_labels(pairs[:9], 0.5, (7, 0)) == one[:9]
    tie = drawn_labels([{"prompt": "p", "first": "a", "second": "b", "gap": 0.0}], 0.5, (7, 0))
    assert tie[0]["right"]
    sure = drawn_labels([{"prompt": "p", "first": "a", "second": "b", "gap": -9.0}], 1e-3, (7, 0))
    assert sure == [{"prompt": "p", "chosen": "b", "rejected": "a", "right": True}]


def test_what_methods_read() -> None:
    pairs = [{"prompt": "p", "chosen": "c", "rejected": "r", "right": False}]
    assert comparisons(pairs) == [{"prompt": "p", "chosen": "c", "rejected": "r"}]
    assert feedback(pairs) == [
        {"prompt": "p", "completion": "c", "label": True},
        {"prompt": "p", "completion": "r", "label": False},
    ]
    assert demonstrations(pairs) == [{"prompt": "p", "completion": "c"}]
