"""What is asked about a pair."""

import pytest

from burnish.evaluation.option_judges import Question, reasoning
from burnish.evaluation.readings import Reading
from burnish.recipes.constitution.comparing import Choice, Comparison, Thought
from burnish.recipes.label.pairs import Pair

PAIR = Pair(4, "Why?", "Because.", "No idea.")


def choice(order: int = 0, **others: str) -> Choice:
    return Choice(PAIR, **{"principle": "Choose the true one.", "judge": "j"} | others, order=order)  # type: ignore[arg-type]


def test_a_question_has_the_options_in_the_order_of_the_call() -> None:
    begun = "Consider the following conversation:\n\nWhy?\n\nChoose the true one.\n\nOptions:\n\n"
    assert choice(0).question == begun + "(A) Because.\n\n(B) No idea."
    assert choice(1).question == begun + "(A) No idea.\n\n(B) Because."
    braces = Choice(Pair(0, "{first}", "{prompt}", "b"), "{second}", 0, "j")
    assert Choice(Pair(0, "", "a", "b"), "Rule.", 0, "j").question == "Rule.\n\nOptions:\n\n(A) a\n\n(B) b"
    assert "{first}\n\n{second}\n\nOptions:\n\n(A) {prompt}" in braces.question


def test_equal_calls_have_one_key_and_others_have_others() -> None:
    assert choice().key == choice().key
    others = choice(1), choice(principle="Other."), choice(judge="k"), choice(thought="t"), choice(thought="")
    thoughts = Thought(choice(), "j"), Thought(choice(1), "j"), Thought(choice(), "k")
    assert len({choice().key, *(one.key for one in (*others, *thoughts))}) == 9


def test_without_reasoning_both_orders_can_be_asked_at_once() -> None:
    one = Comparison.of(PAIR, "Choose the true one.", "j")
    assert one.reached({}) == [choice(0), choice(1)]
    assert one.final({}) == (choice(0), choice(1))
    assert choice().asked == Question(choice().question)


def test_each_order_is_chosen_with_its_own_thought() -> None:
    one = Comparison.of(PAIR, "Choose the true one.", "j", "r")
    thoughts = Thought(choice(0), "r"), Thought(choice(1), "r")
    assert one.reached({}) == [*thoughts]
    assert thoughts[1].asked == reasoning(choice(1).question)
    found = {thoughts[0].key: Reading(None, text="first")}
    assert one.final(found) is None
    found[thoughts[1].key] = Reading(None, text="second")
    final = choice(0, thought="first"), choice(1, thought="second")
    assert one.final(found) == final
    assert one.reached(found) == [*thoughts, *final]
    assert final[1].asked == Question(choice(1).question, "second")


@pytest.mark.parametrize("problem", ["an empty answer", "HTTP 500"])
def test_a_thought_that_cannot_be_used_is_not_followed_by_a_choice(problem: str) -> None:
    one = Comparison.of(PAIR, "Choose the true one.", "j", "r")
    found = {one.thoughts[0].key: Reading(None, text="first"), one.thoughts[1].key: Reading(None, problem, text="")}
    assert one.final(found) is None
