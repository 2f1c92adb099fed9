"""The built-in rewards."""

import pytest

from burnish.rewards.builtin import gold_reward, lexicon_reward
from burnish.rewards.completed import checked_scores
from burnish.rewards.gold import GoldJudge

from .conversations import completed


def test_the_lexicon_by_hand() -> None:
    """The prompts p0, p1, p2 are words of valence 0: (0 + 2)/2, (0 + 2 − 3 + 0)/4, and 0/1 for an empty response."""
    reward = lexicon_reward({"good": 2.0, "bad": -3.0})
    assert checked_scores(reward, completed("GOOD", "good, bad film", "")) == pytest.approx([1.0, -0.25, 0.0])


def test_a_text_without_words_has_a_score() -> None:
    found = completed("")
    found.texts[0] = " ... "
    assert checked_scores(lexicon_reward({"good": 2.0}), found) == [0.0]


def test_gold_is_the_judge_on_prompt_and_response_as_one_text() -> None:
    judge = GoldJudge.fit(["a fine film", "a dull film", "fine", "dull"], [2.0, -2.0, 2.0, -2.0])
    found = completed("fine", "dull")
    scores = checked_scores(gold_reward(judge), found)
    assert scores == judge.score(["p0 fine", "p1 dull"]).tolist()
    assert scores[0] > 0 > scores[1]
