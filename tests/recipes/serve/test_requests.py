"""Requests: every field is used or refused, with a sentence that names it."""

from typing import Any

import pytest

from burnish.recipes.serve.requests import STREAMS_PER_PROMPT, Asked, BadRequestError, chat, completion

SAID: list[dict[str, Any]] = [{"role": "user", "content": "a film"}]


def asked(**fields: Any) -> Asked:
    return completion({"prompt": "a film"} | fields, "tiny")


def test_what_is_not_given_has_openais_defaults() -> None:
    found = asked()
    assert (found.kind, found.prompts, found.n, found.max_tokens) == ("completion", ["a film"], 1, 16)
    assert (found.temperature, found.top_k, found.top_p, found.stop, found.streamed) == (1.0, None, None, (), False)
    assert not found.logprobs
    assert asked().seed != asked().seed  # with 1 chance in 4 billion
    assert chat({"messages": SAID}, "tiny").max_tokens == 256


def test_every_field_arrives() -> None:
    found = asked(
        model="tiny",
        max_tokens=3,
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        n=2,
        seed=9,
        streams=[2**40],
        stop=["a", "b"],
        stop_token_ids=[7],
        stream=True,
        logprobs=0,
        return_token_ids=True,
        user="me",
    )
    assert found == Asked("completion", ["a film"], 3, 9, 2, (2**40,), 0.5, 4, 0.9, ("a", "b"), (7,), True, True, True)
    assert found.rows == [("a film", 2**40), ("a film", 2**40 + 1)]
    spoken = chat({"messages": SAID, "max_completion_tokens": 5, "logprobs": True, "top_logprobs": 20}, "tiny")
    assert (spoken.max_tokens, spoken.logprobs, spoken.alternatives) == (5, True, 20)
    assert chat({"messages": SAID, "top_logprobs": 0}, "tiny").logprobs is False


def test_random_streams_are_those_of_burnish_sample() -> None:
    """Completion k of row i has stream i·2²⁰ + k."""
    found = asked(prompt=["a", [4, 5]], n=2)
    assert found.rows == [("a", 0), ("a", 1), ([4, 5], STREAMS_PER_PROMPT), ([4, 5], STREAMS_PER_PROMPT + 1)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, {"temperature": 1.0, "top_k": 1}),
        ({"top_p": 1}, {"top_p": None}),
        ({"top_k": -1}, {"top_k": None}),
        ({"stop": "a"}, {"stop": ("a",)}),
        ({"logprobs": False}, {"logprobs": False}),
        ({"logprobs": None}, {"logprobs": False}),
        ({"logprobs": 0}, {"logprobs": True, "alternatives": 0}),
        ({"logprobs": 20}, {"logprobs": True, "alternatives": 20}),
        ({"prompt": [1, 2]}, {"prompts": [[1, 2]]}),
        ({"presence_penalty": 0, "best_of": 1, "echo": False, "logit_bias": {}}, {"n": 1}),
    ],
)
def test_other_ways_to_say_something(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = asked(**fields)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"prompt": ""}, None, None),
        ({"prompt": []}, "prompt", "none of them empty"),
        ({"prompt": [[]]}, "prompt", "none of them empty"),
        ({"prompt": [1.5]}, "prompt", "a list of token ids"),
        ({"prompt": [-1]}, "prompt", "a list of token ids"),
        ({"prompt": [True]}, "prompt", "a list of token ids"),
        ({"prompt": {"a": 1}}, "prompt", "a list of token ids"),
        ({"max_tokens": 0}, "max_tokens", "from 1 to 1000000, not 0"),
        ({"max_tokens": "3"}, "max_tokens", "a whole number"),
        ({"max_tokens": 1.5}, "max_tokens", "a whole number"),
        ({"n": True}, "n", "a whole number"),
        ({"n": 70_000}, "n", "from 1 to 65536"),
        ({"n": 40_000, "prompt": ["a", "b"]}, "n", "80,000 completions are more than 65,536"),
        ({"seed": -1}, "seed", "from 0 to 4294967295"),
        ({"temperature": "hot"}, "temperature", "must be a number"),
        ({"top_p": "x"}, "top_p", "must be a number"),
        ({"streams": [1, 2]}, "streams", "a list of 1 whole numbers"),
        ({"streams": 3}, "streams", "a list of 1 whole numbers"),
        ({"stop": [""]}, "stop", "none of them empty"),
        ({"stop": 3}, "stop", "a text"),
        ({"stop_token_ids": ["a"]}, "stop_token_ids", "a list of token ids"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"stream": 1}, "stream", "true or false"),
        ({"logprobs": 21}, "logprobs", "a whole number from 0 to 20, not 21"),
        ({"logprobs": -1}, "logprobs", "a whole number from 0 to 20"),
        ({"logprobs": True}, "logprobs", "a whole number from 0 to 20"),
        ({"top_logprobs": 5}, "top_logprobs", "has no top_logprobs"),
        (
            {"logprobs": 20, "max_tokens": 10**6},
            "max_tokens",
            "1 completions of up to 1,000,000 tokens, each with 20 alternatives, are more than 16,777,216 tokens",
        ),
        ({"echo": True}, "echo", "this server has no echo: leave it out"),
        ({"presence_penalty": 0.5}, "presence_penalty", "has no presence_penalty"),
        ({"tools": [{}]}, "tools", "has no tools"),
        ({"tmperature": 1}, "tmperature", "unknown field 'tmperature'"),
        ({"messages": SAID}, "messages", "unknown field 'messages'"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], field: str | None, said: str | None) -> None:
    if said is None:
        assert asked(**fields).prompts == [""]
        return
    with pytest.raises(BadRequestError) as caught:
        asked(**fields)
    assert said in str(caught.value)
    assert (caught.value.field, caught.value.status) == (field, 400)


@pytest.mark.parametrize(
    "messages",
    [None, [], "a", [1], [{"role": "user"}], [{"role": 1, "content": "a"}], [{"role": "user", "content": []}]],
)
def test_messages_have_a_role_and_a_text(messages: Any) -> None:
    with pytest.raises(BadRequestError, match="with a role and a text each"):
        chat({"messages": messages}, "tiny")


def test_the_rest_that_is_refused() -> None:
    for body in ([], None, "a"):
        with pytest.raises(BadRequestError, match="must be a JSON object"):
            completion(body, "tiny")
    with pytest.raises(BadRequestError, match="has no prompt"):
        completion({}, "tiny")
    with pytest.raises(BadRequestError, match="'big' here: this server has 'tiny'") as caught:
        asked(model="big")
    assert caught.value.status == 404
    for top, said in ((5, "set logprobs to true"), (21, "from 0 to 20"), (True, "from 0 to 20")):
        with pytest.raises(BadRequestError, match=said) as caught:
            chat({"messages": SAID, "logprobs": top != 5, "top_logprobs": top}, "tiny")
        assert caught.value.field == "top_logprobs"
    with pytest.raises(BadRequestError, match="are one: give one of them"):
        chat({"messages": SAID, "max_tokens": 1, "max_completion_tokens": 2}, "tiny")
