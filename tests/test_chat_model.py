"""The scripts of docs/chat_model.md: their data are what the page says, their scores are worked by hand."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.data import corpora
from burnish.run import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "chat_model"))

import make_data as page
import scores


def row(number: int, completion: str, ended: bool = True) -> dict[str, Any]:
    return {"row": number, "prompt": [{"role": "user", "content": "?"}], "completion": completion, "ended": ended}


def test_of_two_finished_answers_the_brief_one_is_chosen() -> None:
    brief = [row(0, "one"), row(1, "one two"), row(2, "one"), row(3, "same"), row(4, "one", ended=False)]
    answers = [row(4, "one two"), row(0, "one two"), row(1, "one"), row(2, "one two", ended=False), row(3, "word")]
    again = [row(2, "one two three"), row(0, "a b c")]
    found = page.pairs(brief, answers + again)
    said = [(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in found]
    assert said == [("one", "one two"), ("one", "one two three"), ("one", "a b c")]
    assert found[0]["chosen"][0]["role"] == "assistant"
    assert found[0]["prompt"] == [{"role": "user", "content": "?"}]


def test_questions_held_out_are_about_other_things() -> None:
    train, held = page.questions(page.TOPICS), page.questions(page.HELD_OUT_TOPICS)
    assert (len(train), len(held)) == (40, 16)
    assert held[0] == {"prompt": [{"role": "user", "content": "What is milk good for?"}]}
    assert not set(page.TOPICS) & set(page.HELD_OUT_TOPICS)


def test_conversations_ask_about_as_many_good_as_bad_reviews() -> None:
    try:
        corpora.archive()
    except UserError as error:
        pytest.skip(str(error))
    found = page.conversations(40)
    assert [[m["role"] for m in one["messages"]] for one in found] == [["user", "assistant"] * 2] * 40
    said = Counter(m["content"] for one in found for m in one["messages"] if m["role"] == "assistant")
    assert said == {"Positive.": 40, "Negative.": 40}
    assert not {m["content"] for one in found for m in one["messages"] if m["role"] == "user"} & {
        page.ask(text)["content"] for text, _ in page.reviews("held_out", 100)
    }


def test_scores_by_hand() -> None:
    said = ["Positive.", " Negative", "It is positive, not negative", "Good"]
    assert scores.right([0] * 4, said, ["Positive."] * 4) == [1, 0, 1, 0]
    # "a cat" has (1 + 3) / 2 = 2 letters per word, "don't" ("don" and "t") the same; "42" has no word.
    assert scores.plain([0] * 3, ["a cat.", "don't", "42"]) == pytest.approx([2.8, 2.8, -5])
    assert scores.plainer([0], ["a cat"], ["cats"]) == pytest.approx([2])
    assert scores.shorter([0] * 2, ["a b", "a"], ["a b c", "a"]) == [1, 0]
