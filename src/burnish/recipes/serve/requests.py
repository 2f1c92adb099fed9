"""What a request asks for, read from its JSON; what is wrong with one is a sentence.

Every field is either used or refused: a value that would change the reply and that this server has no use for is an
error. Fields beyond OpenAI's are vLLM's (`top_k`, `stop_token_ids`, `return_token_ids`), and `streams`.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from burnish.config.settings import LARGEST_SEED
from burnish.options import is_number, quoted
from burnish.recipes.web import RefusedError

MOST_ROWS, MOST_TOKENS, MOST_STOPS, LARGEST_STREAM = 65_536, 1_000_000, 64, 2**62
MOST_DRAWN = 2**24
"""The most tokens that a request may ask for: completions times `max_tokens`, each with its alternatives."""
MOST_ALTERNATIVES = 20

STREAMS_PER_PROMPT = 2**20
"""As in `burnish sample`: completion k of prompt i has random stream i·2²⁰ + k."""

COMPLETION_TOKENS, CHAT_TOKENS = 16, 256
"""The default lengths: of a text OpenAI's, of a message that of `burnish chat`."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None,),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
    "top_logprobs": (None, 0),
    "response_format": (None, {"type": "text"}),
    "tools": (None, []),
    "tool_choice": (None, "none"),
    "store": (None, False),
    "stream_options": (None,),
}
"""Fields that this server has no use for, and the values that ask for nothing."""

COMMON = {
    *("model", "max_tokens", "temperature", "top_p", "top_k", "n", "seed", "streams", "stop", "stop_token_ids"),
    *("stream", "logprobs", "return_token_ids", "user"),
}


class BadRequestError(RefusedError):
    """A request that cannot be answered, with the field that is wrong and the HTTP status."""

    def __init__(self, sentence: str, field: str | None = None, status: int = 400) -> None:
        super().__init__(sentence, status)
        self.field = field


@dataclass(frozen=True)
class Asked:
    """Completions that are asked for: `prompts` are texts, conversations or ids, and `n` are drawn of each.

    `top_k` is 1 where the temperature was 0. `seed` is a random one where the request had none.
    """

    kind: Literal["completion", "chat"]
    prompts: list[Any]
    max_tokens: int
    seed: int
    n: int = 1
    streams: tuple[int, ...] = ()
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    streamed: bool = False
    logprobs: bool = False
    token_ids: bool = False
    alternatives: int = 0
    """How many of the likeliest tokens of each place the reply names."""

    @property
    def rows(self) -> list[tuple[Any, int]]:
        """Each completion's prompt and random stream, the n of a prompt one behind the other."""
        return [(p, s + k) for p, s in zip(self.prompts, self.streams, strict=True) for k in range(self.n)]


def completion(body: Any, served: str) -> Asked:
    """A request to `/v1/completions`. Raises BadRequestError."""
    check_fields(body, COMMON | {"prompt"}, served)
    if "prompt" not in body:
        raise BadRequestError("the request has no prompt: give a text, or token ids", "prompt")
    prompts = prompts_of(body["prompt"])
    given = None if body.get("logprobs") is False else whole(body, "logprobs", None, 0, MOST_ALTERNATIVES)
    return common(body, "completion", prompts, COMPLETION_TOKENS, given is not None, given or 0)


def chat(body: Any, served: str) -> Asked:
    """A request to `/v1/chat/completions`. Raises BadRequestError."""
    check_fields(body, COMMON | {"messages", "max_completion_tokens", "top_logprobs"}, served)
    messages = body.get("messages")
    fine = isinstance(messages, list) and messages and all(is_message(one) for one in messages)
    if not fine:
        raise BadRequestError(
            'messages must be a list such as [{"role": "user", "content": "…"}], with a role and a text each',
            "messages",
        )
    if "max_completion_tokens" in body:
        if body.get("max_tokens") is not None:
            raise BadRequestError("max_tokens and max_completion_tokens are one: give one of them", "max_tokens")
        body = body | {"max_tokens": body["max_completion_tokens"]}
    logprobs, alternatives = flag(body, "logprobs"), whole(body, "top_logprobs", 0, 0, MOST_ALTERNATIVES)
    if alternatives and not logprobs:
        raise BadRequestError("top_logprobs are for log-probabilities: set logprobs to true", "top_logprobs")
    return common(body, "chat", [messages], CHAT_TOKENS, logprobs, alternatives)


def is_message(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)


def check_fields(body: Any, known: set[str], served: str) -> None:
    """Raise BadRequestError for what is no object, an unknown field, one without use, and another model's name."""
    if not isinstance(body, dict):
        raise BadRequestError("the request must be a JSON object")
    for key, value in body.items():
        if key in NEUTRAL and key not in known:
            if value not in NEUTRAL[key]:
                raise BadRequestError(f"this server has no {key}: leave it out", key)
        elif key not in known:
            raise BadRequestError(f"unknown field {quoted(key)}: leave it out", key)
    name = body.get("model")
    if name is not None and name != served:
        raise BadRequestError(f"there is no model {quoted(name)} here: this server has {quoted(served)}", "model", 404)


def prompts_of(prompt: Any) -> list[Any]:
    """A text, ids, or a list of either, as a list of prompts."""
    if isinstance(prompt, str) or is_ids(prompt):
        return [prompt]
    if isinstance(prompt, list) and prompt and all(isinstance(one, str) or is_ids(one) for one in prompt):
        return prompt
    raise BadRequestError(
        "prompt must be a text, a list of token ids, or a list of these, none of them empty", "prompt"
    )


def is_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(is_whole(one, 0, 2**31) for one in value)


def is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def common(
    body: dict[str, Any], kind: Any, prompts: list[Any], tokens: int, logprobs: bool, alternatives: int
) -> Asked:
    """The fields that both kinds of requests have."""
    n = whole(body, "n", 1, 1, MOST_ROWS)
    if n * len(prompts) > MOST_ROWS:
        raise BadRequestError(f"{n * len(prompts):,} completions are more than {MOST_ROWS:,}: ask for fewer", "n")
    longest = whole(body, "max_tokens", tokens, 1, MOST_TOKENS)
    if n * len(prompts) * longest * (1 + alternatives) > MOST_DRAWN:
        each = f", each with {alternatives} alternatives," if alternatives else ""
        raise BadRequestError(
            f"{n * len(prompts):,} completions of up to {longest:,} tokens{each} are more than {MOST_DRAWN:,} tokens: "
            "ask for fewer, or for shorter ones",
            "max_tokens",
        )
    temperature, top_k = number(body, "temperature", 1.0), whole(body, "top_k", None, -1, 2**31)
    if temperature == 0:
        temperature, top_k = 1.0, 1
    stop = body.get("stop")
    stop = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or len(stop) > MOST_STOPS or not all(isinstance(s, str) and s for s in stop):
        raise BadRequestError(f"stop must be a text, or at most {MOST_STOPS} texts, none of them empty", "stop")
    ids = body.get("stop_token_ids") or []
    if not isinstance(ids, list) or not all(is_whole(one, 0, 2**31) for one in ids):
        raise BadRequestError("stop_token_ids must be a list of token ids", "stop_token_ids")
    seed = whole(body, "seed", None, 0, LARGEST_SEED)
    return Asked(
        kind=kind,
        prompts=prompts,
        max_tokens=longest,
        seed=secrets.randbelow(LARGEST_SEED) if seed is None else seed,
        n=n,
        streams=streams_of(body.get("streams"), len(prompts)),
        temperature=temperature,
        top_k=top_k if top_k is not None and top_k > 0 else None,
        top_p=None if body.get("top_p") in (None, 1) else number(body, "top_p", 1.0),
        stop=tuple(stop),
        stop_tokens=tuple(ids),
        streamed=flag(body, "stream"),
        logprobs=logprobs,
        token_ids=flag(body, "return_token_ids"),
        alternatives=alternatives,
    )


def streams_of(given: Any, prompts: int) -> tuple[int, ...]:
    """The first random stream of each prompt."""
    if given is None:
        return tuple(range(0, prompts * STREAMS_PER_PROMPT, STREAMS_PER_PROMPT))
    fine: Sequence[Any] = given if isinstance(given, list) else []
    if len(fine) != prompts or not all(is_whole(one, 0, LARGEST_STREAM) for one in fine):
        raise BadRequestError(f"streams must be a list of {prompts} whole numbers, one per prompt", "streams")
    return tuple(fine)


def whole(body: dict[str, Any], key: str, default: int | None, low: int, high: int) -> Any:
    value = body.get(key)
    if value is None:
        return default
    if not is_whole(value, low, high):
        raise BadRequestError(f"{key} must be a whole number from {low} to {high}, not {quoted(value)}", key)
    return value


def number(body: dict[str, Any], key: str, default: float) -> float:
    value = body.get(key)
    if value is None:
        return default
    if not is_number(value):
        raise BadRequestError(f"{key} must be a number, not {quoted(value)}", key)
    try:
        return float(value)
    except OverflowError as error:
        raise BadRequestError(f"{key} is {quoted(value)}: give a smaller number", key) from error


def flag(body: dict[str, Any], key: str) -> bool:
    value = body.get(key)
    if value not in (None, True, False) or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise BadRequestError(f"{key} must be true or false, not {quoted(value)}", key)
    return bool(value)
