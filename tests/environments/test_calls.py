"""Calls of tools in messages: the ways in which models write them, and texts that only look like one."""

from typing import Any

import pytest

from burnish.environments.calls import Call, calls_in

ADD = Call("add", {"a": 1})


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
        'I add. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call> So be it.',
        '<tool_call>{"name": "add", "arguments": {"a": 1}}',
        '{"name": "add", "parameters": {"a": 1}}',
        '<|python_tag|>{"name": "add", "parameters": {"a": 1}}',
        '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>',
    ],
)
def test_the_same_call_in_six_ways(text: str) -> None:
    assert calls_in(text) == [ADD]


def test_several_calls_stay_in_order() -> None:
    text = '<tool_call>{"name": "b", "arguments": {}}</tool_call><tool_call>{"name": "a"}</tool_call>'
    assert calls_in(text) == [Call("b"), Call("a")]


@pytest.mark.parametrize("text", ["", "The answer is 4.", "[1, 2]", '{"name": "Ada"}', "4", "{" * 100_000])
def test_an_ordinary_answer_calls_nothing(text: str) -> None:
    assert calls_in(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<tool_call>add(1)</tool_call>", "a call must be JSON"),
        ("<tool_call>[1]</tool_call>", "a call must be JSON"),
        ('<tool_call>{"name": 3, "arguments": {}}</tool_call>', "a call must be JSON"),
        ('<tool_call>{"name": "add", "arguments": [1]}</tool_call>', "must be a JSON object"),
        ('<tool_call>{"name": "add", "arguments": "{"}</tool_call>', "must be a JSON object"),
        ("<tool_call>" + "[" * 100_000, "a call must be JSON"),
    ],
)
def test_what_only_looks_like_a_call_says_why(text: str, problem: str) -> None:
    (call,) = calls_in(text)
    assert problem in (call.problem or "")


class Knowing:
    """A tokenizer that knows how its model writes calls: `add:1`."""

    response_schema = "its own"

    def parse_response(self, text: str) -> Any:
        if text == "?":
            raise ValueError("cannot be parsed")
        name, _, value = text.partition(":")
        calls = [{"type": "function", "function": {"name": name, "arguments": {"a": int(value)}}}] if value else None
        return {"role": "assistant", "content": "", "tool_calls": calls}


def test_a_tokenizer_that_knows_its_calls_is_asked() -> None:
    assert calls_in("add:1", Knowing()) == [ADD]
    assert calls_in("four", Knowing()) == []
    assert calls_in("?", Knowing()) == [Call("", problem="ValueError: cannot be parsed")]
