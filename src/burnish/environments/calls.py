"""Finds the calls of tools in a policy's message.

Chat templates write calls in many ways. A tokenizer that knows its own (`response_schema`) is asked; otherwise calls
are JSON objects with a name and arguments, between `<tool_call>` and `</tool_call>` (Hermes, Qwen and many others), or
as the whole message (Llama 3).
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from burnish.run import UserCodeError, user_code

BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.S)


@dataclass(frozen=True)
class Call:
    """A call of a tool. `problem` says why it is none, if it only looks like one."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def calls_in(text: str, tokenizer: Any = None) -> list[Call]:
    """The calls in a message, in order; none in an ordinary answer."""
    if getattr(tokenizer, "response_schema", None):
        return by_schema(text, tokenizer)
    if blocks := BLOCK.findall(text):
        return [call_of(parsed(block)) for block in blocks]
    whole = parsed(text.removeprefix("<|python_tag|>"))
    called = isinstance(whole, dict) and "name" in whole and bool(whole.keys() & {"arguments", "parameters"})
    return [call_of(whole)] if called else []


def by_schema(text: str, tokenizer: Any) -> list[Call]:
    """The calls that the tokenizer's own schema finds."""
    try:
        with user_code():
            found = tokenizer.parse_response(text)
    except UserCodeError as error:
        return [Call("", problem=str(error))]
    called = found.get("tool_calls") if isinstance(found, dict) else None
    return [call_of(one.get("function", one) if isinstance(one, dict) else one) for one in called or ()]


def parsed(text: str) -> Any:
    """A text's JSON, None if it has none."""
    try:
        return json.loads(text.strip())
    except (ValueError, RecursionError):
        return None


def call_of(found: Any) -> Call:
    """A call from its JSON: {"name": …, "arguments": {…}}."""
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return Call("", problem='a call must be JSON such as {"name": "…", "arguments": {…}}')
    arguments = found.get("arguments", found.get("parameters", {}))
    if isinstance(arguments, str):  # as OpenAI writes them
        arguments = parsed(arguments)
    if not isinstance(arguments, dict):
        return Call(found["name"], problem="the arguments of a call must be a JSON object")
    return Call(found["name"], arguments)
