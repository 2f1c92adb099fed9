"""The judge on texts whose score can be worked by hand, and on those that fool the built-in one."""

import numpy as np
import pytest

from burnish.data import builtin
from burnish.recipes.study.judge import StudyJudge, study_judge

SALAD = "funny moving beautiful best great wonderful delightful fascinating"
LOOP = "solid performances and moving and solid performances and moving and solid performances and moving"


def test_what_a_text_loses_by_hand() -> None:
    """One nat above the usual 3 costs 2 points, ten cost 4; of the trigrams abc, bca, cab, abc one in four repeats."""
    nats = {"plain": 2.0, "odd": 4.0, "strange": 13.0, "a b c a b c": 3.0}
    judge = StudyJudge(lambda texts: np.ones(len(texts)), lambda texts: np.array([nats[one] for one in texts]), 3.0)
    parts = judge.parts(list(nats))
    assert {key: one.tolist() for key, one in parts.items()} == {
        "own": [1.0] * 4,
        "strange": [0.0, 2.0, 4.0, 0.0],
        "repeated": [0.0, 0.0, 0.0, 2.0],
    }
    assert judge.score(list(nats)) == pytest.approx([1.0, 1 - 2.0, 1 - 4.0, 1 - 8 / 4])


def test_word_salad_does_not_fool_it_and_human_reviews_lose_little() -> None:
    """The built-in judge gives the list its highest score, 4. Nine in ten human reviews lose less than half a point."""
    judge = study_judge()
    human = list(builtin.demonstrations("held_out")["text"])[:300]
    lost = judge.gold(human) - judge.score(human)
    assert judge.gold([SALAD])[0] == pytest.approx(4.0)
    assert np.quantile(lost, 0.85) < 0.5
    best = np.quantile(judge.score(human), 0.9)
    assert max(judge.score([SALAD, LOOP])) < best
