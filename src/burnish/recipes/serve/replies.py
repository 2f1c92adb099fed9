"""Replies in OpenAI's format, with what a trainer has to know beside: ids, checksum and version of the weights."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from burnish.recipes.serve.engine import UNFINISHED, Choice, Piece, Reply, Stream
from burnish.recipes.serve.requests import Asked
from burnish.run import UserError

Name = Callable[[int], str]

KINDS = {"completion": ("text_completion", "text_completion"), "chat": ("chat.completion", "chat.completion.chunk")}
"""The `object` of a reply, and of an event of a stream."""


def error(sentence: str, status: int, field: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's format."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    sentence = sentence.encode(errors="replace").decode()  # half of a surrogate pair, which JSON may name, is no text
    return {"error": {"message": sentence, "type": kind, "param": field, "code": status}}


def whole(asked: Asked, reply: Reply, number: int, name: Name, created: int) -> dict[str, Any]:
    """The reply to a request that is not streamed; `name` gives what an id is called."""
    choices = [choice(asked, reply, one, name) for one in reply.choices]
    read, written = sum(map(len, reply.prompts)), sum(len(one.tokens) for one in reply.choices)
    return head(asked, reply.facts, number, created, KINDS[asked.kind][0]) | {
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def head(asked: Asked, facts: dict[str, Any], number: int, created: int, kind: str) -> dict[str, Any]:
    """What a reply and each event of a stream begin with."""
    return {"id": f"{asked.kind}-{number}", "object": kind, "created": created, "seed": asked.seed} | facts


def choice(asked: Asked, reply: Reply, one: Choice, name: Name) -> dict[str, Any]:
    """One completion."""
    ids: dict[str, Any] = {}
    if asked.token_ids:
        ids = {"token_ids": one.tokens, "prompt_token_ids": reply.prompts[one.index // asked.n]}
    said = {"text": one.text} if asked.kind == "completion" else {"message": {"role": "assistant", "content": one.text}}
    logprobs = logprobs_of(asked, one.tokens, one.logprobs, one.likeliest, name)
    ending = {"finish_reason": one.finish, "stop_reason": one.reason}
    return {"index": one.index} | said | {"logprobs": logprobs} | ending | ids


def logprobs_of(
    asked: Asked, ids: list[int], logprobs: list[float], likeliest: Sequence[Mapping[int, float]], name: Name
) -> dict[str, Any] | None:
    """The log-probabilities as both APIs write them; None where they are not asked for.

    `likeliest` are the alternatives of each place, which end with the chosen one where it is not among the likeliest:
    the completions API names it too, the other one does not. Of alternatives with the same text the completions API can
    name the likeliest alone.
    """
    if not asked.logprobs:
        return None
    if asked.kind == "completion":
        top = [by_text(one, name) for one in likeliest] if asked.alternatives else None
        return {"tokens": [name(i) for i in ids], "token_logprobs": logprobs, "top_logprobs": top}
    listed = [[named(i, p, name) for i, p in islice(one.items(), asked.alternatives)] for one in likeliest]
    listed = listed or [[] for _ in ids]
    places = zip(ids, logprobs, listed, strict=True)
    return {"content": [named(i, p, name) | {"top_logprobs": others} for i, p, others in places]}


def by_text(likeliest: Mapping[int, float], name: Name) -> dict[str, float]:
    """The log-probabilities by the tokens' texts: of those with the same text the first."""
    found: dict[str, float] = {}
    for token, logprob in likeliest.items():
        found.setdefault(name(token), logprob)
    return found


def named(token: int, logprob: float, name: Name) -> dict[str, Any]:
    """A token in the chat API; without bytes where it is only a part of a character."""
    text = name(token)
    return {"token": text, "logprob": logprob, "bytes": None if UNFINISHED in text else list(text.encode())}


def events(asked: Asked, stream: Stream, head: dict[str, Any], name: Name) -> Iterator[bytes]:
    """A stream as server-sent events, the last of them `[DONE]`; an error in the middle of it is an event too.

    `name` gives what an id is called.
    """
    if asked.kind == "chat":
        for index in range(asked.n):
            began = {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            yield event(head | {"choices": [began]})
    try:
        for piece in stream.pieces():
            yield event(head | {"choices": [part(asked, piece, name)]})
    except Exception as problem:
        said = str(problem) if isinstance(problem, UserError) else type(problem).__name__
        yield event(error(f"the completion was broken off ({said})", 500))
        return
    yield b"data: [DONE]\n\n"


def part(asked: Asked, piece: Piece, name: Name) -> dict[str, Any]:
    """What a step adds to a completion."""
    said = {"text": piece.text} if asked.kind == "completion" else {"delta": {"content": piece.text}}
    ids = {"token_ids": [piece.token]} if asked.token_ids else {}
    logprobs = logprobs_of(asked, [piece.token], [piece.logprob], [piece.likeliest], name)
    ending = {"finish_reason": piece.finish, "stop_reason": piece.reason}
    return {"index": piece.index} | said | {"logprobs": logprobs} | ending | ids


def event(content: Any) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()
