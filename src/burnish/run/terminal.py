"""Text for a terminal: what it would obey rather than show is written out."""

import io
import re
import sys

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but the line feed and the tab; the escape sequences of a terminal all begin with one."""


def printable(text: object) -> str:
    r"""The text with control characters as `\x1b`, so that no answer, file name or exception can move the cursor, clear
    the screen or set the title."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(text).replace("\r\n", "\n"))


def never_fail_to_print() -> None:
    """Let standard output write what its encoding lacks as an escape, where Python would raise UnicodeEncodeError."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
