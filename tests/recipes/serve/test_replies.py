"""Replies have OpenAI's form."""

import json

from burnish.recipes.serve.engine import Choice, Piece, Reply, Stream
from burnish.recipes.serve.replies import error, events, head, whole
from burnish.recipes.serve.requests import Asked
from burnish.run import UserError

WORDS = {1: "</s>", 5: "film", 6: "plot", 7: "a", 8: "\ufffd", 9: "plot"}
FACTS = {"model": "tiny", "weights_sha256": "abc", "weights_version": 2}
CHOICES = [
    Choice(0, [5, 1], [-1.0, -0.5], " film", "stop", None),
    Choice(1, [6, 7], [-2.0, -0.25], " plot a", "length", None),
]


def asked(kind: str, **options: object) -> Asked:
    return Asked(**{"kind": kind, "prompts": ["a"], "max_tokens": 2, "seed": 3, "n": 2} | options)  # type: ignore[arg-type]


def test_a_completion_has_text_usage_and_what_was_asked_for() -> None:
    full = asked("completion", logprobs=True, token_ids=True)
    reply = Reply([[0, 7]], CHOICES, FACTS)
    found = whole(full, reply, 4, WORDS.__getitem__, 99)
    assert {key: found[key] for key in ("id", "object", "created", "seed")} == {
        "id": "completion-4",
        "object": "text_completion",
        "created": 99,
        "seed": 3,
    }
    assert FACTS.items() <= found.items()
    assert found["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
    assert found["choices"][1] == {
        "index": 1,
        "text": " plot a",
        "logprobs": {"tokens": ["plot", "a"], "token_logprobs": [-2.0, -0.25], "top_logprobs": None},
        "finish_reason": "length",
        "stop_reason": None,
        "token_ids": [6, 7],
        "prompt_token_ids": [0, 7],
    }
    plain = whole(asked("completion"), reply, 4, WORDS.__getitem__, 99)["choices"][0]
    assert plain == {"index": 0, "text": " film", "logprobs": None, "finish_reason": "stop", "stop_reason": None}


def test_a_message_has_a_role() -> None:
    found = whole(asked("chat", logprobs=True), Reply([[0]], CHOICES, FACTS), 1, {**WORDS, 5: "é"}.__getitem__, 0)
    assert found["object"] == "chat.completion"
    assert found["choices"][0]["message"] == {"role": "assistant", "content": " film"}
    first = found["choices"][0]["logprobs"]["content"][0]
    assert first == {"token": "é", "logprob": -1.0, "bytes": [195, 169], "top_logprobs": []}


def test_alternatives_have_the_form_of_each_api() -> None:
    """Both name two; the completions API the chosen one too. A part of a character has no bytes."""
    first, second = {6: -0.1, 8: -2.0, 5: -3.0}, {1: -0.5, 9: -1.5}
    one = Choice(0, [5, 1], [-3.0, -0.5], " film", "stop", None, [first, second])
    reply = Reply([[0]], [one], FACTS)
    text = whole(asked("completion", logprobs=True, alternatives=2), reply, 1, WORDS.__getitem__, 0)
    tops = text["choices"][0]["logprobs"]["top_logprobs"]
    assert [list(top.items()) for top in tops] == [
        [("plot", -0.1), ("\ufffd", -2.0), ("film", -3.0)],
        [("</s>", -0.5), ("plot", -1.5)],
    ]
    spoken = whole(asked("chat", logprobs=True, alternatives=2), reply, 1, WORDS.__getitem__, 0)
    places = spoken["choices"][0]["logprobs"]["content"]
    assert [place["token"] for place in places] == ["film", "</s>"]
    assert places[0]["top_logprobs"] == [
        {"token": "plot", "logprob": -0.1, "bytes": [112, 108, 111, 116]},
        {"token": "\ufffd", "logprob": -2.0, "bytes": None},
    ]
    assert [top["logprob"] for top in places[1]["top_logprobs"]] == [-0.5, -1.5]
    same = Reply([[0]], [Choice(0, [9], [-1.5], "", "stop", None, [{6: -0.1, 9: -1.5}])], FACTS)
    text = whole(asked("completion", logprobs=True, alternatives=2), same, 1, WORDS.__getitem__, 0)
    assert text["choices"][0]["logprobs"]["top_logprobs"] == [{"plot": -0.1}]
    streamed = list(
        events(
            asked("chat", logprobs=True, alternatives=1, n=1),
            stream_of(Piece(0, 5, -3.0, " film", likeliest=first), None),
            {},
            WORDS.__getitem__,
        )
    )
    (place,) = json.loads(streamed[1][6:])["choices"][0]["logprobs"]["content"]
    assert (place["token"], [top["token"] for top in place["top_logprobs"]]) == ("film", ["plot"])


def stream_of(*found: Piece | Exception | None) -> Stream:
    stream = Stream()
    for one in found:
        stream.queue.put(one)
    return stream


def test_a_stream_ends_with_done_or_an_error() -> None:
    one, two = Piece(0, 5, -1.0, " fi"), Piece(0, 6, -1.0, "lm", "stop")
    kind, facts = asked("completion"), head(asked("completion"), FACTS, 1, 0, "text_completion")
    said = list(events(kind, stream_of(one, two, None), facts, str))
    assert said[-1] == b"data: [DONE]\n\n"
    read = [json.loads(event[6:]) for event in said[:-1]]
    assert "".join(event["choices"][0]["text"] for event in read) == " film"
    assert [event["choices"][0]["finish_reason"] for event in read] == [None, "stop"]
    assert all(event["weights_version"] == 2 for event in read)
    broken = list(events(kind, stream_of(one, ValueError("secret")), facts, str))
    assert json.loads(broken[-1][6:])["error"]["message"] == "the completion was broken off (ValueError)"
    broken = list(events(kind, stream_of(one, UserError("the weights are damaged")), facts, str))
    assert json.loads(broken[-1][6:])["error"]["message"] == "the completion was broken off (the weights are damaged)"
    spoken = list(events(asked("chat"), stream_of(one, None), facts, str))
    deltas = [json.loads(event[6:])["choices"][0]["delta"] for event in spoken[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}] * 2 + [{"content": " fi"}]


def test_an_error_has_openais_form() -> None:
    assert error("no", 400, "n") == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": 400}
    }
    assert error("no", 500)["error"]["type"] == "server_error"
