"""Pairs from data that have the answers, in the formats of comparisons and in columns of their own."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.data import builtin
from burnish.recipes.label.pairs import Pair, blocks, checksum, different, pairs_in
from burnish.run import UserError

ASKED, SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}


def written(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "a": "x", "b": "y"}, ("p", "x", "y")),
        ({"prompt": "p", "response_a": "x", "response_b": "y", "score": 1}, ("p", "x", "y")),
        ({"prompt": "p", "responses": ["x", "y"], "ranks": [2, 1]}, ("p", "x", "y")),
        ({"prompt": "p", "completions": ["x", "y"]}, ("p", "x", "y")),
        ({"prompt": "p", "chosen": "x", "rejected": "y"}, ("p", "x", "y")),
        (
            {"chosen": "\n\nHuman: Hi\n\nAssistant: x", "rejected": "\n\nHuman: Hi\n\nAssistant: y"},
            ([ASKED], [{"role": "assistant", "content": "x"}], [{"role": "assistant", "content": "y"}]),
        ),
        ({"prompt": [ASKED], "a": [SAID], "b": "y"}, ([ASKED], [SAID], [{"role": "assistant", "content": "y"}])),
    ],
)
def test_where_the_answers_are(tmp_path: Path, row: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (one,) = pairs_in(written(tmp_path, row))
    assert (one.prompt, one.a, one.b) == expected


def test_comparisons_say_which_answer_is_preferred_and_how_far_apart_means_are(tmp_path: Path) -> None:
    """Of three rows the last has one mean alone; pairs without labels have none."""
    means = [(1.5, -1.0), (0, 2), (1.0, None)]
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y", "chosen_mean": a, "rejected_mean": b} for a, b in means]
    found = pairs_in(written(tmp_path, *rows))
    assert [(one.votes, one.gap) for one in found] == [((1.0,), 2.5), ((1.0,), 2.0), ((1.0,), None)]
    (bare,) = pairs_in(written(tmp_path, {"prompt": "p", "a": "x", "b": "y", "chosen_mean": 1, "rejected_mean": 2}))
    assert (bare.votes, bare.gap, bare.source) == ((), None, str(tmp_path / "pairs.jsonl"))


def vote(prompt: str, rater: str, verdict: str, strength: int | None = None, **others: Any) -> dict[str, Any]:
    """A line of a labels file, whose pair is that of the prompt."""
    return {"prompt": prompt, "a": "x", "b": "y", "rater": rater, "verdict": verdict, "strength": strength} | others


def test_labels_give_each_pair_once_with_a_vote_of_each_rater(tmp_path: Path) -> None:
    """Anna's first vote on p is replaced; then she says that a is much better and that both are the same, worth ¾ and
    3/2, and Ben that b is, worth 0 and −3: −¾ in the mean. On q nobody compares."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    rows = [
        vote("p", "anna", "b", 2, showing=0, tools=tools),
        vote("q", "anna", "skip", showing=0),
        vote("p", "ben", "b", 3, showing=0),
        vote("p", "anna", "a", 3, showing=0),
        vote("p", "anna", "tie", showing=1),
        vote("q", "ben", "bad", showing=0),
    ]
    one, other = pairs_in(written(tmp_path, *rows))
    assert (one.row, one.prompt, one.a, one.b, one.options) == (0, "p", "x", "y", {"tools": tools})
    assert (one.votes, one.strength, one.gap) == ((0.75, 0.0), 0.75, None)
    assert (other.row, other.votes, other.strength) == (1, (), None)


def test_labels_without_strengths_have_none_and_some_need_all(tmp_path: Path) -> None:
    (one,) = pairs_in(written(tmp_path, vote("p", "anna", "a"), vote("p", "ben", "a")))
    assert (one.votes, one.strength) == ((1.0, 1.0), None)
    with pytest.raises(UserError, match="row 1: has no `strength`, which other rows have"):
        pairs_in(written(tmp_path, vote("p", "anna", "a", 2), vote("p", "ben", "a")))


def test_labels_of_an_empty_answer_are_left_out_where_it_is_counted(tmp_path: Path) -> None:
    data = written(tmp_path, vote("p", "anna", "a", b=""), vote("q", "anna", "a"), vote("p", "ben", "a", b=""))
    left_out: Counter[str] = Counter()
    assert [one.prompt for one in pairs_in(data, None, left_out)] == ["q"]
    assert left_out == {"empty": 1}
    with pytest.raises(UserError, match="row 0: the prompt has one answer, and two are needed"):
        pairs_in(data)


def test_the_builtin_comparisons_are_the_held_out_ones() -> None:
    first = builtin.comparisons("held_out")[0]
    one, two = pairs_in("builtin", 2)
    assert (one.a, one.b, one.prompt, one.row, one.source) == (first["chosen"], first["rejected"], "", 0, "builtin")
    assert one.gap == abs(first["chosen_mean"] - first["rejected_mean"])
    assert two.row == 1


def test_tools_stay_beside_a_pair(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    rows = [{"prompt": "p", "a": "x", "b": "y", "tools": tools}, {"prompt": "q", "a": "x", "b": "y"}]
    found = pairs_in(written(tmp_path, *rows))
    assert [pair.options for pair in found] == [{"tools": tools}, {}]
    assert pairs_in(written(tmp_path, *rows), 1) == found[:1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p"}, r"has prompts without answers \(its columns are prompt\)"),
        ({"prompt": "p", "completion": "x"}, "has prompts without answers"),
        ({"text": "p"}, "has no pairs of answers"),
        ({"prompt": "p", "a": "x", "b": ""}, r"row 1: the prompt has one answer, and two are needed"),
        ({"prompt": "p", "a": None, "b": None}, "row 1: the prompt has no answer"),
        ({"prompt": "p", "responses": ["x", "y", "z"]}, "row 1: the prompt has 3 answers"),
        ({"prompt": "p", "chosen": "x", "rejected": ""}, "row 1: column `rejected` is empty"),
    ],
)
def test_a_prompt_without_two_answers_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    fine = {key: [*"xy"] if isinstance(value, list) else "fine" for key, value in row.items()}
    with pytest.raises(UserError, match=said):
        pairs_in(written(tmp_path, fine, row))


def test_equal_answers_and_repeated_pairs_are_left_out_and_the_checksum_is_of_the_rest() -> None:
    one, two = Pair(0, "p", "x", "y"), Pair(3, "p", "y", "x")
    assert different([one, Pair(1, "p", "x", "x"), Pair(2, "p", "x", "y"), two]) == [one, two]
    assert checksum([one, two]) == checksum([Pair(7, "p", "x", "y"), two])
    assert len({checksum([one, two]), checksum([two, one]), checksum([one])}) == 3


def test_blocks() -> None:
    """One answer has no role; a thought, a call of a tool and a result that is no text are blocks of their own."""
    assert blocks("text") == [{"role": None, "text": "text"}]
    assert blocks([SAID]) == [{"role": None, "text": "Ho", "code": False}]
    call = {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [{"f": 1}]}
    found = blocks([ASKED, call, {"role": "tool", "content": {"x": 1}}])
    assert [(one["role"], one.get("code", False)) for one in found] == [
        *(("user", False), ("assistant, thinking", False), ("assistant, calls a tool", True), ("tool", True))
    ]
    assert json.loads(found[3]["text"]) == {"x": 1}
    assert blocks([{"role": "assistant", "content": ""}]) == [{"role": None, "text": "", "code": False}]
