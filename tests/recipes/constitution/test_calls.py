"""What is asked, and the file of the calls."""

import json
from pathlib import Path

import pytest

from burnish.evaluation.option_judges import Reading
from burnish.recipes.constitution.calls import Call, CallFile, spoken
from burnish.recipes.label.pairs import Pair
from burnish.run import UserError

PAIR = Pair(4, "Why?", "Because.", "No idea.")
KEYS = {PAIR.key}


def call(order: int = 0, **others: str) -> Call:
    return Call(PAIR, **{"principle": "Choose the true one.", "judge": "j"} | others, order=order)  # type: ignore[arg-type]


def test_a_question_has_the_options_in_the_order_of_the_call() -> None:
    begun = "Consider the following conversation:\n\nWhy?\n\nChoose the true one.\n\nOptions:\n\n"
    assert call(0).question == begun + "(A) Because.\n\n(B) No idea."
    assert call(1).question == begun + "(A) No idea.\n\n(B) Because."
    braces = Call(Pair(0, "{first}", "{prompt}", "b"), "{second}", 0, "j")
    assert Call(Pair(0, "", "a", "b"), "Rule.", 0, "j").question == "Rule.\n\nOptions:\n\n(A) a\n\n(B) b"
    assert "{first}\n\n{second}\n\nOptions:\n\n(A) {prompt}" in braces.question


def test_messages_are_told_with_their_roles() -> None:
    assert spoken([{"role": "assistant", "content": "Hello."}]) == "Hello."
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert spoken(talk) == "user: Hi\n\nassistant: Hello."


def test_equal_calls_have_one_key_and_others_have_others() -> None:
    assert call().key == call().key
    assert len({call().key, call(1).key, call(principle="Other.").key, call(judge="k").key}) == 4


def test_readings_come_back_and_failures_are_asked_again_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "l.calls.jsonl"
    file = CallFile(path, KEYS)
    file.add(call(0), Reading((-0.25, -2.5)))
    file.add(call(1), Reading(None, "HTTP 500", 3, failed=True))
    file.add(call(judge="k"), Reading(None, "B not among", 2, refused=True))
    assert file.requests == 6
    file.close()
    again = CallFile(path, KEYS)
    assert again.readings == {
        call(0).key: Reading((-0.25, -2.5)),
        call(judge="k").key: Reading(None, "B not among", 2),
    }
    assert again.requests == 6
    assert (again.records[0]["principle"], again.records[0]["row"]) == ("Choose the true one.", 4)
    again.close()


def test_calls_about_other_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.calls.jsonl"
    file = CallFile(path, KEYS)
    file.add(call(), Reading((-1.0, -1.0)))
    file.close()
    with pytest.raises(UserError, match="has calls about 1 pairs that are not in the data: choose another --out"):
        CallFile(path, {"another"})
    CallFile(path, {*KEYS, "another"}).close()  # more pairs of the same data


@pytest.mark.parametrize(
    "changes",
    [{"logprobs": [1]}, {"logprobs": None}, {"outcome": "unread"}, {"outcome": "?"}, {"requests": "1"}],
)
def test_a_line_that_is_no_call_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "l.calls.jsonl"
    good = {"key": "k", "pair": PAIR.key, "outcome": "read", "logprobs": [-1.0, -2.0], "requests": 1}
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | changes) + "\n")
    with pytest.raises(UserError, match="call 2: is not one: remove the line"):
        CallFile(path, KEYS)
