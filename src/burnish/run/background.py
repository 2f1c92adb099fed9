"""Threads that end with the process: one that works while the program goes on, and some that wait for others."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

A = TypeVar("A")
T = TypeVar("T")

ENDING = 5.0
SOON = 0.2
"""The seconds in which whoever pauses notices that nobody waits any more."""


class Background:
    """Calls functions in the order in which they are given, in a thread that begins with the first of them.

    Unlike that of a ThreadPoolExecutor the thread ends with the process, whatever it waits for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.given: list[Future[Any]] = []
        self.queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self.thread: threading.Thread | None = None

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Call the function behind those before; what it returns or raises is the future's."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self.thread.start()
        future: Future[T] = Future()
        self.given = [one for one in self.given if not one.done()] + [future]
        self.queue.put((future, function))
        return future

    def settle(self) -> None:
        """Wait until everything has been done."""
        wait(self.given)

    def close(self) -> None:
        """Leave out what has not begun, and end the thread, which may take long: it is waited for `ENDING` seconds."""
        if self.thread is None:
            return
        for future in self.given:
            future.cancel()
        self.queue.put(None)
        self.thread.join(ENDING)
        self.thread = None

    def _work(self) -> None:
        while (one := self.queue.get()) is not None:
            future, function = one
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)


def as_they_come(do: Callable[[A], T], items: Sequence[A], most: int, stop: threading.Event) -> Iterator[tuple[int, T]]:
    """The position of each item and what `do` returns for it, as soon as it is there, from up to `most` threads.

    The first error is raised, and no more begun. Whoever stops reading sets `stop` and has no more begun, without
    waiting for what is. A KeyboardInterrupt is raised behind what is done, and what ends soon as `stop` is set.
    """
    left = deque(enumerate(items))
    done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()

    def work() -> None:
        while True:
            try:
                number, item = left.popleft()
            except IndexError:
                return
            try:
                done.put((number, do(item), None))
            except BaseException as error:
                left.clear()
                done.put((number, None, error))

    for _ in range(min(most, len(items))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in items:
            yield _found(*done.get())
    except BaseException as error:
        left.clear()
        stop.set()
        with suppress(Empty):
            while isinstance(error, KeyboardInterrupt):
                yield _found(*done.get(timeout=SOON))
        raise


def _found(number: int, value: T, error: BaseException | None) -> tuple[int, T]:
    if error is not None:
        raise error
    return number, value


def at_once(calls: Sequence[Callable[[], T]], most: int) -> list[T]:
    """What functions return that are called in up to `most` threads. The first error is raised, and no more begun."""
    found = dict(as_they_come(lambda call: call(), calls, most, threading.Event()))
    return [found[number] for number in range(len(calls))]
