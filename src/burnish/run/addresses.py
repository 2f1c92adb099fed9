"""Web addresses, whose user, password, parameters and query may hold keys."""

import re

_ADDRESS = re.compile(
    r"(\b[a-z][a-z0-9+.-]{0,30}://)(?:[^\s?#@'\"]*@)?((?:(?!%3b|%3f|%23)[^\s?#;'\"])*)(?:[?#;%][^\s'\"]*)?",
    re.IGNORECASE,
)


def without_keys(text: str) -> str:
    """The text with every address cut to host and path."""
    return _ADDRESS.sub(r"\1\2", text)
