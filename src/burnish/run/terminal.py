"""Text for a terminal: what it would obey rather than show is written out."""

import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but the line feed and the tab, and what changes the direction of text: the escape sequences of a
terminal all begin with one, and after U+202E it writes backwards."""


SLOW = 4.0
"""Seconds after which somebody who sees nothing wonders what is going on."""


def printable(text: object) -> str:
    r"""The text with control characters as `\x1b`, so that no answer, file name or exception can move the cursor, clear
    the screen, set the title, or show other words than it has."""
    return _CONTROL.sub(_written_out, str(text).replace("\r\n", "\n"))


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def open_closed_streams() -> None:
    """Give a process that was started with closed standard streams others: input that has ended, standard output that
    refuses what is written to it with an OSError, and standard error that drops it."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def never_fail_to_print() -> None:
    """Let standard output write what its encoding lacks as an escape, where Python would raise UnicodeEncodeError, and
    let nobody close it: closing only writes what is left, for standard error too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            vars(stream)["close"] = stream.flush
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def said_if_slow(sentence: str, quiet: bool = False) -> Iterator[None]:
    """Print the sentence to standard error if the block takes more than a few seconds."""
    timer = threading.Timer(SLOW, lambda: print(printable(sentence), file=sys.stderr, flush=True))
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
