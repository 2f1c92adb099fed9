"""Methods of environments that are coroutines, as TRL allows them."""

import asyncio
import inspect
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any


def awaited(found: Any) -> Any:
    """What a method returned; where it is `async`, what it returns in the end.

    All run in one event loop, so that they may share connections. Where the thread runs a loop itself, as that of a
    notebook does, theirs runs in another thread. A coroutine is cancelled where waiting for it is interrupted.
    """
    if not inspect.iscoroutine(found):
        return found
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return finished(found)
    future = asyncio.run_coroutine_threadsafe(found, served(os.getpid()))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns in a loop of this thread."""
    loop = loop_of(os.getpid())
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        task.cancel()
        raise


@cache
def loop_of(process: int) -> asyncio.AbstractEventLoop:
    """The event loop of environments in this process."""
    return asyncio.new_event_loop()


@cache
def served(process: int) -> asyncio.AbstractEventLoop:
    """A loop that runs in a thread of its own until the process ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
