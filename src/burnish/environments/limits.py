"""A limit of time for code that may never return."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

AGAIN = 0.2
"""Seconds after which a call that goes on is interrupted once more."""


class TooSlow(BaseException):
    """A limit of time was reached. Not an Exception, so that a tool that catches its own errors does not catch it."""


def limited(call: Callable[[], Any], seconds: float) -> Any:
    """What `call()` returns. Raises TooSlow where it takes longer than `seconds`, and also where it returns or fails
    later.

    In the main thread the call is interrupted, by a signal; where it catches that and goes on, again and again, and
    then also between two of its lines, in whatever catches it. Elsewhere Python cannot do that: it
    goes on in a thread of its own, and what it returns is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return _abandoned(call, seconds)

    before, traced, interrupt = signal.getsignal(signal.SIGALRM), sys.gettrace(), _interrupting()

    def disarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if sys.gettrace() is not traced:
            sys.settrace(traced)

    began = time.monotonic()
    try:
        try:
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            value = call()
        finally:
            disarm()
    except Exception as error:
        if time.monotonic() - began < seconds:
            raise
        raise TooSlow from error
    finally:
        disarm()  # once more, if an alarm came while the first was at work
    if time.monotonic() - began >= seconds:
        raise TooSlow
    return value


def within(call: Callable[[], Any], seconds: float, option: str) -> Any:
    """What `call()` returns. Raises TimeoutError, which names the option, where it takes longer than `seconds`."""
    try:
        return limited(call, seconds)
    except TooSlow as error:
        raise TimeoutError(f"it took longer than {seconds:g} s, the limit of {option}") from error


def _interrupting() -> Callable[[int, Any], None]:
    """What an alarm does: it raises TooSlow, and from the second alarm on also at the next line that is run."""
    alarms = 0

    def at_a_line(frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            raise TooSlow
        return at_a_line

    def interrupt(signum: int, frame: Any) -> None:
        nonlocal alarms
        alarms += 1
        if alarms > 1 and frame is not None:
            frame.f_trace = at_a_line
            sys.settrace(at_a_line)
        raise TooSlow

    return interrupt


def _abandoned(call: Callable[[], Any], seconds: float) -> Any:
    found: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def work() -> None:
        try:
            found.put((True, call()))
        except BaseException as error:  # raised again in the thread that asked
            found.put((False, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        fine, value = found.get(timeout=seconds)
    except Empty:
        raise TooSlow from None
    if not fine:
        raise value
    return value
