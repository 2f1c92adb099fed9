"""A limit of time for code that may never return."""

import signal
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any


class TooSlow(BaseException):
    """A limit of time was reached. Not an Exception, so that a tool that catches its own errors does not catch it."""


def limited(call: Callable[[], Any], seconds: float) -> Any:
    """What `call()` returns. Raises TooSlow where it takes longer than `seconds`.

    In the main thread the call is interrupted, by a signal. Elsewhere Python cannot do that: it goes on in a thread of
    its own, and what it returns is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return _abandoned(call, seconds)

    def interrupt(signum: int, frame: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
