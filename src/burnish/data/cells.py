"""Checks and converts the cells of a user's rows: text, lists of messages, numbers and booleans.

An invalid cell raises UserError with one sentence that begins with `where`: file, row and column.
"""

import math
from collections.abc import Iterator
from typing import Any

from datasets import Dataset

from burnish.data.columns import rows_of
from burnish.data.messages import Messages, listed, message
from burnish.run import UserError

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def rows(dataset: Dataset, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each row and its cells in `columns`."""
    for number, cells in enumerate(rows_of(dataset, columns)):
        yield number, dict(zip(columns, cells, strict=True))


def value(cell: object, where: str, may_be_empty: bool = False) -> str | Messages:
    """The cell as text or as messages, see `messages.message`; text that is the JSON of messages is read as these."""
    if isinstance(cell, str):
        if not cell and not may_be_empty:
            raise UserError(f"{where} is empty; add text or remove the row.")
        try:
            parsed = listed(cell)
        except ValueError as error:
            raise UserError(f"{where} {error}.") from error
        if parsed is None:
            return cell
        cell = parsed
    if not isinstance(cell, list):
        raise UserError(f"{where} is {kind_of(cell)}, not text or a list of messages; fix or remove the row.")
    if not cell and not may_be_empty:
        raise UserError(f"{where} is an empty list; add messages or remove the row.")
    return [message(part, f"{where}, message {place}") for place, part in enumerate(cell)]


def text(cell: object, where: str, may_be_empty: bool = False) -> str:
    """The cell as text."""
    if not isinstance(cell, str):
        raise UserError(f"{where} is {kind_of(cell)}, not text; fix or remove the row.")
    if not cell.strip() and not may_be_empty:
        raise UserError(f"{where} is empty; add text or remove the row.")
    return cell


def number(cell: object, where: str) -> float:
    """The cell as a finite number; numbers in text, as CSV files have them, are parsed."""
    try:
        found = float(cell) if isinstance(cell, int | float | str) and not isinstance(cell, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{where} is {shown(cell)}, not a finite number; fix or remove the row.")
    return found


def truth(cell: object, where: str) -> bool:
    """The cell as a boolean: true or false, 1 or 0, or one of these as text, since CSV cells are all text."""
    found = None
    if isinstance(cell, bool | int | float):
        found = bool(cell) if cell in (0, 1) else None
    elif isinstance(cell, str):
        found = _TRUTHS.get(cell.strip().lower())
    if found is None:
        raise UserError(f"{where} is {shown(cell)}, but it must be true or false (or 1 or 0); fix or remove the row.")
    return found


def as_messages(found: str | Messages, role: str) -> Messages:
    """Text as one message with `role`, empty text as no message; messages unchanged."""
    if isinstance(found, list):
        return found
    return [{"role": role, "content": found}] if found else []


def check_answer(messages: Messages, where: str) -> None:
    """Raise UserError if an answer has no assistant message or an empty one."""
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise UserError(f"{where} has no assistant message, so there is nothing to train on; remove the row.")
    if any(not message.get("content") and not message.get("tool_calls") for message in answers):
        raise UserError(f"{where} has an empty assistant message; add text or remove the row.")


def shown(cell: object) -> str:
    """A cell for an error message: its value if that is short, otherwise its type."""
    if isinstance(cell, str | bool | int | float) and len(repr(cell)) <= 40:
        return repr(cell)
    return kind_of(cell)


def kind_of(cell: object) -> str:
    return "None" if cell is None else f"of type {type(cell).__name__}"
