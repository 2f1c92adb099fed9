"""Replies in OpenAI's format, with what a trainer has to know beside: ids, checksum and version of the weights."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from burnish.recipes.serve.engine import Choice, Piece, Reply, Stream
from burnish.recipes.serve.requests import Asked
from burnish.run import UserError

KINDS = {"completion": ("text_completion", "text_completion"), "chat": ("chat.completion", "chat.completion.chunk")}
"""The `object` of a reply, and of an event of a stream."""


def error(sentence: str, status: int, field: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's format."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    sentence = sentence.encode(errors="replace").decode()  # half of a surrogate pair, which JSON may name, is no text
    return {"error": {"message": sentence, "type": kind, "param": field, "code": status}}


def whole(asked: Asked, reply: Reply, number: int, tokens: list[str], created: int) -> dict[str, Any]:
    """The reply to a request that is not streamed; `tokens` is what each id of the completions is called, where
    log-probabilities are asked for."""
    named = iter(tokens)
    choices = [choice(asked, reply, one, list(islice(named, len(one.tokens)))) for one in reply.choices]
    read, written = sum(map(len, reply.prompts)), sum(len(one.tokens) for one in reply.choices)
    return head(asked, reply.facts, number, created, KINDS[asked.kind][0]) | {
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def head(asked: Asked, facts: dict[str, Any], number: int, created: int, kind: str) -> dict[str, Any]:
    """What a reply and each event of a stream begin with."""
    return {"id": f"{asked.kind}-{number}", "object": kind, "created": created, "seed": asked.seed} | facts


def choice(asked: Asked, reply: Reply, one: Choice, tokens: list[str]) -> dict[str, Any]:
    """One completion."""
    ids: dict[str, Any] = {}
    if asked.token_ids:
        ids = {"token_ids": one.tokens, "prompt_token_ids": reply.prompts[one.index // asked.n]}
    said = {"text": one.text} if asked.kind == "completion" else {"message": {"role": "assistant", "content": one.text}}
    logprobs = logprobs_of(asked, tokens, one.logprobs)
    ending = {"finish_reason": one.finish, "stop_reason": one.reason}
    return {"index": one.index} | said | {"logprobs": logprobs} | ending | ids


def logprobs_of(asked: Asked, tokens: list[str], logprobs: list[float]) -> dict[str, Any] | None:
    """The log-probabilities as both APIs write them; None where they are not asked for."""
    if not asked.logprobs:
        return None
    if asked.kind == "completion":
        return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": None}
    pairs = zip(tokens, logprobs, strict=True)
    return {"content": [{"token": t, "logprob": p, "bytes": list(t.encode()), "top_logprobs": []} for t, p in pairs]}


def events(asked: Asked, stream: Stream, head: dict[str, Any], name: Any) -> Iterator[bytes]:
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


def part(asked: Asked, piece: Piece, name: Any) -> dict[str, Any]:
    """What a step adds to a completion."""
    said = {"text": piece.text} if asked.kind == "completion" else {"delta": {"content": piece.text}}
    ids = {"token_ids": [piece.token]} if asked.token_ids else {}
    tokens = [name(piece.token)] if asked.logprobs else []
    logprobs = logprobs_of(asked, tokens, [piece.logprob])
    ending = {"finish_reason": piece.finish, "stop_reason": piece.reason}
    return {"index": piece.index} | said | {"logprobs": logprobs} | ending | ids


def event(content: Any) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()
