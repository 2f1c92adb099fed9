"""Keys in what a server says: some servers repeat them, and what they say is kept and shown."""

import base64
import json
from collections.abc import Sequence
from typing import Any

GONE = "…"
"""What stands in the place of a key."""

SHORTEST = 8
"""The fewest letters of a key that is looked for in replies: a shorter one, such as `EMPTY` for a server without keys,
may be a word that the model wrote."""


def basic(user: str, password: str) -> str:
    """A user and a password as the header of basic authentication has them."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def forms_of(key: str, user: str | None = None, password: str = "") -> list[str]:
    """The texts to hide, the longest first: the key, the pair of user and password as it is and as a header has it, and
    the password, or the user where there is none; each also as JSON within a text writes it."""
    found = [key]
    if user is not None:
        found += [basic(user, password), f"{user}:{password}", password or user]
    escaped = [json.dumps(one)[1:-1] for one in found]
    slashes = [one.replace("/", "\\/") for one in escaped]
    return sorted({one for one in (*found, *escaped, *slashes) if one}, key=len, reverse=True)


def without(text: str, forms: Sequence[str]) -> str:
    """The text without any of these."""
    for one in forms:
        text = text.replace(one, GONE)
    return text


def without_in(value: Any, forms: Sequence[str]) -> Any:
    """JSON without any of these in its texts and names, but for those that are shorter than `SHORTEST`."""
    long = [one for one in forms if len(one) >= SHORTEST]
    return _cleaned(value, long) if long else value


def _cleaned(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, str):
        return without(value, forms)
    if isinstance(value, list):
        return [_cleaned(one, forms) for one in value]
    if isinstance(value, dict):
        return {without(name, forms): _cleaned(one, forms) for name, one in value.items()}
    return value
