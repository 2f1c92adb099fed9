"""Reads the messages of a conversation: OpenAI's and TRL's keys, ShareGPT's, and what data sets add to them."""

import json
import re
from typing import Any

from burnish.run import UserError

Messages = list[dict[str, Any]]

SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function": "tool",
    "ipython": "tool",
    "function_call": "assistant",
} | {role: role for role in ("user", "assistant", "system", "tool", "developer")}
"""The role of each speaker in ShareGPT messages, which have `from` and `value` instead of `role` and `content`."""

TRAINED = ("train", "training", "trainable", "weight", "loss", "loss_mask")
"""Keys that say whether an assistant message is trained: axolotl's, OpenAI's and Mistral's, and others' names."""

UNSUPPORTED = ("train_detail",)
CALLS = ("tool_calls", "function_call")
RESULTS = ("tool", "function", "ipython")
"""The roles of messages with the result of a call, which may be any value."""

TEXT_PARTS = ("text", "input_text", "output_text")


def listed(text: str) -> list[Any] | None:
    """The messages in a text that is their JSON, as some data sets store them; None for any other text.

    Raises ValueError for the Python text of messages, which pandas writes into CSV files.
    """
    start = text.lstrip()[:100]
    if re.match(r"\[\s*\{\s*'", start) and re.search(r"'(role|from)'\s*:", text):
        raise ValueError("is the Python text of a list of messages, not their JSON; write it with json.dumps")
    if not start.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    each = found if isinstance(found, list) and found else [None]
    return each if all(isinstance(one, dict) and ({"role", "from"} & one.keys()) for one in each) else None


def message(part: object, where: str) -> dict[str, Any]:
    """One message: role and text, without keys that are null, except the content beside tool calls, which templates ask
    for. `train` is False if the assistant's turn is not trained.

    Raises UserError, beginning with `where`, for an unknown speaker, a part that is not text, a weight other than 0 and
    1, and a message with no text and no tool calls.
    """
    if isinstance(part, dict) and "from" in part and part.get("role") is None:
        part = _shared(part, where)
    if not isinstance(part, dict) or not isinstance(part.get("role"), str):
        raise UserError(f"{where} has no role; each message needs a `role` and a `content`.")
    found = {key: cell for key, cell in part.items() if cell is not None and key not in TRAINED}
    content, result = found.get("content"), part["role"] in RESULTS
    if isinstance(content, list):
        are_parts = all(isinstance(one, dict) and "type" in one for one in content)
        if are_parts or not result:
            found["content"] = _joined(content, where)
    if isinstance(found.get("tool_calls"), str):
        found["tool_calls"] = calls(found["tool_calls"], f"{where}, `tool_calls`")
    called = any(found.get(key) for key in CALLS)
    if called and "content" in part and content is None:
        found["content"] = None
    if not isinstance(found.get("content"), str) and not called and not (result and content is not None):
        raise UserError(f"{where} has no text in `content`; fix or remove the row.")
    return found | _trained(part, where)


def calls(text: str, where: str) -> list[Any]:
    """Tool calls or tools that are given as JSON text."""
    found = parsed(text, where) if text.strip() else []
    if not isinstance(found, list):
        raise UserError(f"{where} must be a list; fix or remove the row.")
    return found


def parsed(text: str, where: str) -> Any:
    """The value of JSON text. Raises UserError, beginning with `where`, for other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is text but not JSON ({error}); fix or remove the row.") from error


def alike(one: Messages, other: Messages) -> bool:
    """Whether two lists of messages are the same but for what is trained."""
    return [_said(each) for each in one] == [_said(each) for each in other]


def _said(one: dict[str, Any]) -> dict[str, Any]:
    return {key: cell for key, cell in one.items() if key != "train"}


def _shared(part: dict[str, Any], where: str) -> dict[str, Any]:
    """A ShareGPT message with OpenAI's keys."""
    speaker = part["from"]
    if not isinstance(speaker, str) or speaker not in SPEAKERS:
        named = repr(speaker)[:40] if isinstance(speaker, str) else f"of type {type(speaker).__name__}"
        raise UserError(f"{where} is from {named}, which is not one of {', '.join(SPEAKERS)}; rename the speaker.")
    rest = {key: cell for key, cell in part.items() if key not in ("from", "value", "role", "content")}
    if speaker == "function_call":
        made = calls(f"[{part.get('value')}]", f"{where}, `value`")
        each = made[0] if len(made) == 1 and isinstance(made[0], list) else made
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": one} for one in each], **rest}
    return {"role": SPEAKERS[speaker], "content": part.get("value"), **rest}


def _joined(parts: list[Any], where: str) -> str:
    """The text of a content that is a list of parts."""
    texts = []
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        text = part.get("text") if isinstance(part, dict) else part
        if kind not in TEXT_PARTS:
            raise UserError(f"{where} has a part of type {kind}, and only text can be trained; remove the row.")
        if not isinstance(text, str):
            raise UserError(f"{where} has a part of type {kind} with no text; fix or remove the row.")
        texts.append(text)
    return "".join(texts)


def _trained(part: dict[str, Any], where: str) -> dict[str, bool]:
    """`{"train": False}` for a message that its own keys leave out of training; otherwise nothing."""
    for key in UNSUPPORTED:
        if part.get(key) is not None:
            raise UserError(f"{where} has `{key}`, which is not supported; use `train` for the whole message.")
    given = {key: part[key] for key in TRAINED if part.get(key) is not None}
    for key, cell in given.items():
        if not isinstance(cell, bool | int | float) or cell not in (0, 1):
            raise UserError(f"{where} has `{key}` {cell!r}, but only 0 and 1 have a meaning here; use one of them.")
    if len({bool(cell) for cell in given.values()}) > 1:
        raise UserError(f"{where} has {' and '.join(f'`{key}`' for key in given)} that disagree; remove one of them.")
    if any(given.values()) and part["role"] != "assistant":
        raise UserError(
            f"{where} is the {part['role']}'s and has `{next(iter(given))}` {next(iter(given.values()))!r}, but only "
            "the assistant's turns are trained; remove the key."
        )
    return {"train": False} if given and part["role"] == "assistant" and not any(given.values()) else {}
