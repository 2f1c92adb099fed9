"""Ensembles: combined by hand, parsed from text; a member's error is not hidden by the others."""

import math

import numpy as np
import pytest

from burnish.rewards.builtin import TextReward
from burnish.rewards.completed import BadRewardError, checked_scores
from burnish.rewards.ensemble import Ensemble, combined, read_ensemble
from burnish.run import UserError

from .conversations import completed


def told(name: str, *scores: float) -> TextReward:
    return TextReward(name, lambda texts: list(scores))


def test_combined_by_hand() -> None:
    """Scores 1, 2, 6 and 3, 3, 3: means 3 and 3, minima 1 and 3; deviations √((4 + 1 + 9)/3) = √(14/3) and 0."""
    scores = np.array([[1.0, 3.0], [2.0, 3.0], [6.0, 3.0]])
    assert combined(scores, "mean").tolist() == [3, 3]
    assert combined(scores, "minimum").tolist() == [1, 3]
    assert combined(scores, "uncertainty") == pytest.approx([3 - math.sqrt(14 / 3), 3])
    assert combined(scores, "uncertainty", 0.5) == pytest.approx([3 - math.sqrt(14 / 3) / 2, 3])
    assert combined(scores[:, :, None], "minimum").shape == (2, 1)


def test_each_combination_is_a_reward() -> None:
    members = (told("a", 1.0, 5.0), told("b", 3.0, -1.0))
    expected = {"mean": [2.0, 2.0], "minimum": [1.0, -1.0], "uncertainty": [1.5, 0.5]}
    for how, scores in expected.items():
        assert checked_scores(Ensemble("a,b", members, how, 0.5), completed("x", "y")) == scores


def test_a_member_may_change_the_texts_that_it_is_given() -> None:
    """The second member counts the letters of the real texts, "p0 x" and "p1 yyy"."""

    def vandal(texts: list[str]) -> list[float]:
        texts[:] = ["" for _ in texts]
        return [0.0 for _ in texts]

    members = (TextReward("vandal", vandal), TextReward("length", lambda texts: [float(len(t)) for t in texts]))
    assert Ensemble("a,b", members)(completed("x", "yyy")) == [2.0, 3.0]


def test_an_invalid_score_names_its_member() -> None:
    """A minimum would hide infinity, and the error would not name the member."""
    members = (told("fine", 1.0, 2.0), told("broken", math.inf, 0.0))
    with pytest.raises(BadRewardError, match="the reward broken returned inf for row 10"):
        checked_scores(Ensemble("both", members, "minimum"), completed("x", "y"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("runs/a,runs/b", (["runs/a", "runs/b"], "mean", 1.0)),
        ("mean:a,b", (["a", "b"], "mean", 1.0)),
        ("minimum:a, b,c", (["a", "b", "c"], "minimum", 1.0)),
        ("uncertainty:a,b", (["a", "b"], "uncertainty", 1.0)),
        ("uncertainty=0.25:a,b", (["a", "b"], "uncertainty", 0.25)),
        ("runs/a", None),
        ("gold", None),
        ("rewards:score", None),
        ("C:\\models\\a,C:\\models\\b", (["C:\\models\\a", "C:\\models\\b"], "mean", 1.0)),
    ],
)
def test_ensembles_are_parsed_from_text(text: str, found: object) -> None:
    assert read_ensemble(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("minimum:a", "is an ensemble of 1: give at least two folders"),
        ("a,", "is an ensemble of 1"),
        ("minimum=2:a,b", "a minimum has no penalty; write minimum:a,b, or uncertainty=2:a,b"),
        ("uncertainty=much:a,b", "the penalty must be a number greater than 0, not 'much'"),
        ("uncertainty=0:a,b", "the penalty must be a number greater than 0, not '0'"),
        ("uncertainty=:a,b", "not ''"),
    ],
)
def test_an_invalid_ensemble_is_an_error(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_ensemble(text)
