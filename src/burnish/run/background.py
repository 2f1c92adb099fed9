"""Threads that end with the process: one that works while the program goes on, and some that wait for others."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

ENDING = 5.0


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


def at_once(calls: Sequence[Callable[[], T]], most: int) -> list[T]:
    """What functions return that are called in up to `most` threads. The first error is raised, and no more begun."""
    left: SimpleQueue[tuple[int, Callable[[], T]]] = SimpleQueue()
    done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
    enough = threading.Event()
    for one in enumerate(calls):
        left.put(one)

    def work() -> None:
        while not enough.is_set():
            try:
                number, call = left.get_nowait()
            except Empty:
                return
            try:
                done.put((number, call(), None))
            except BaseException as error:
                enough.set()
                done.put((number, None, error))

    for _ in range(min(most, len(calls))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, T] = {}
    try:
        while len(found) < len(calls):
            number, value, error = done.get()
            if error is not None:
                raise error
            found[number] = value
    finally:
        enough.set()
    return [found[number] for number in range(len(calls))]
