"""The judge on texts whose score can be worked by hand, and on those that fool the built-in one."""

import numpy as np
import pytest

from burnish.data import builtin
from burnish.recipes.study import judge
from burnish.recipes.study.judge import StudyJudge, judge_inputs, study_judge

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


@pytest.mark.parametrize("part", ["pretraining_texts", "demonstrations", "rated", "lexicon", "tokenizer"])
def test_a_judge_of_other_texts_or_tokens_has_other_hashes(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text, rating or word less, or a vocabulary with one token more."""
    before, own = judge_inputs(), {"rated": builtin.rated, "demonstrations": builtin.demonstrations}
    if part == "tokenizer":
        tokenizer = judge.judge_tokenizer()
        tokenizer.add_tokens(["unheard-of"])
        monkeypatch.setattr(judge, "judge_tokenizer", lambda: tokenizer)
    elif part == "lexicon":
        monkeypatch.setattr(judge, "lexicon", lambda: {"good": 1.0})
    elif part == "pretraining_texts":
        monkeypatch.setattr(builtin, part, lambda: {"train": ["A film."]})
    else:
        monkeypatch.setattr(builtin, part, lambda name: own[part](name).select(range(1, 9)))
    after = judge_inputs()
    changed = "judge_tokenizer_sha256" if part == "tokenizer" else "judge_sha256"
    assert [key for key in before if before[key] != after[key]] == [changed]
