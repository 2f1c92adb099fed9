"""What is asked, and the file of the calls."""

import hashlib
import json
from pathlib import Path

import pytest

from burnish.evaluation.readings import UNREAD, Reading
from burnish.recipes.constitution.calls import OPTIONS, SUPERVISED, TEXT, CallFile, key_of, spoken
from burnish.recipes.constitution.comparing import Choice, Thought
from burnish.recipes.label.pairs import Pair
from burnish.run import UserError

PAIR = Pair(4, "Why?", "Because.", "No idea.")
KEYS = {PAIR.key}


def call(order: int = 0, **others: str) -> Choice:
    return Choice(PAIR, **{"principle": "Choose the true one.", "judge": "j"} | others, order=order)  # type: ignore[arg-type]


def test_messages_are_told_with_their_roles() -> None:
    assert spoken([{"role": "assistant", "content": "Hello."}]) == "Hello."
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert spoken(talk) == "user: Hi\n\nassistant: Hello."


def test_a_key_is_that_of_all_that_is_given() -> None:
    """SHA-256 of the JSON list."""
    expected = hashlib.sha256(b'["j", "\\u00fc"]').hexdigest()[:32]
    assert key_of("j", "ü") == expected
    assert len({key_of("a", "b"), key_of("ab"), key_of("a", "b", ""), key_of("b", "a")}) == 4


def test_readings_come_back_and_failures_are_asked_again_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "l.calls.jsonl"
    file = CallFile(path, KEYS)
    file.add(call(0), Reading((-0.25, -2.5)))
    file.add(call(1), Reading(None, "HTTP 500", 3, failed=True))
    file.add(call(judge="k"), Reading(None, "B not among", 2, refused=True))
    assert file.requests == 6
    assert file.read == {(OPTIONS, "j")}
    file.close()
    again = CallFile(path, KEYS)
    assert again.readings == {
        call(0).key: Reading((-0.25, -2.5)),
        call(judge="k").key: Reading(None, "B not among", 2),
    }
    assert again.requests == 6
    assert (again.records[0]["principle"], again.records[0]["row"]) == ("Choose the true one.", 4)
    again.close()


@pytest.mark.parametrize("number", ["800.0", f"1{'0' * 400}", "Infinity", "NaN"])
def test_a_number_that_is_no_log_probability_is_not_read(tmp_path: Path, number: str) -> None:
    path = tmp_path / "l.calls.jsonl"
    line = {"key": "k", "pair": PAIR.key, "outcome": "read", "logprobs": [-1.0, 7], "requests": 1}
    path.write_text(json.dumps(line).replace(" 7]", f" {number}]") + "\n")
    file = CallFile(path, KEYS)
    file.close()
    assert (file.readings["k"].kind, file.readings["k"].logprobs, file.read) == (UNREAD, None, set())
    assert file.readings["k"].problem.startswith("the judge's log-probabilities of A and B are -1 and ")


def test_texts_come_back_also_those_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "l.calls.jsonl"
    thoughts = [Thought(call(order), "k") for order in (0, 1)]
    file = CallFile(path, KEYS)
    file.add(thoughts[1], Reading(None, "an empty answer", text=""))
    assert not file.read
    file.add(thoughts[0], Reading(None, requests=2, text="It is 1.\ud800"))
    assert file.read == {(TEXT, "k")}
    file.close()
    again = CallFile(path, KEYS)
    assert again.readings == {
        thoughts[0].key: Reading(None, requests=2, text="It is 1.\ud800"),
        thoughts[1].key: Reading(None, "an empty answer", text=""),
    }
    assert again.records[0]["outcome"] == "unread"
    assert (again.records[1]["step"], again.records[1]["order"]) == ("reasoning", 0)
    assert "logprobs" not in again.records[1]
    again.close()


def test_calls_about_other_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.calls.jsonl"
    file = CallFile(path, KEYS)
    file.add(call(), Reading((-1.0, -1.0)))
    file.close()
    with pytest.raises(UserError, match="has calls about 1 pairs that are not in the data: choose another --out"):
        CallFile(path, {"another"})
    with pytest.raises(UserError, match=r"l\.calls\.jsonl has calls of --part feedback: choose another --out, or give"):
        CallFile(path, KEYS, SUPERVISED)
    CallFile(path, {*KEYS, "another"}).close()  # more pairs of the same data


@pytest.mark.parametrize(
    "changes",
    [
        {"logprobs": [1]},
        {"logprobs": None},
        {"logprobs": None, "text": 3},
        {"text": "both"},
        {"problem": "none"},
        {"outcome": "unread"},
        {"outcome": "?"},
        {"requests": "1"},
        {"tokens": -1},
        {"tokens": 1.5},
    ],
)
def test_a_line_that_is_no_call_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "l.calls.jsonl"
    good = {"key": "k", "pair": PAIR.key, "outcome": "read", "logprobs": [-1.0, -2.0], "requests": 1}
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | changes) + "\n")
    with pytest.raises(UserError, match="call 2: is not one: remove the line"):
        CallFile(path, KEYS)
