"""A thread that does one thing after the other, and threads that do things at once."""

import threading
import time
from concurrent.futures import CancelledError
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

from burnish.run.background import Background, as_they_come, at_once


def test_things_are_done_in_their_order_and_what_fails_is_raised() -> None:
    background, done = Background("test"), list[int]()
    futures = [
        background.call(lambda number=number: done.append(number) or number / (number - 2)) for number in range(4)
    ]
    assert (futures[0].result(10), futures[1].result(10), futures[3].result(10)) == (0, -1, 3)
    with pytest.raises(ZeroDivisionError):
        futures[2].result(10)
    assert done == [0, 1, 2, 3]
    background.close()


def test_it_is_another_thread_that_does_not_keep_the_process() -> None:
    background = Background("test")
    thread = background.call(threading.current_thread).result(10)
    assert thread is not threading.current_thread()
    assert thread.daemon
    background.close()
    assert not thread.is_alive()


def test_what_has_not_begun_is_left_out() -> None:
    background, going, end = Background("test"), threading.Event(), threading.Event()

    def wait() -> bool:
        going.set()
        return end.wait(10)

    first, second = background.call(wait), background.call(threading.current_thread)
    assert going.wait(10)
    threading.Timer(0.05, end.set).start()
    background.close()
    assert first.result(10)
    with pytest.raises(CancelledError):
        second.result(10)


def test_to_settle_is_to_wait_for_all() -> None:
    background, end = Background("test"), threading.Event()
    background.settle()  # nothing is there
    futures = [background.call(lambda: end.wait(10)), background.call(lambda: 1 / 0)]
    threading.Timer(0.05, end.set).start()
    background.settle()
    assert all(future.done() for future in futures)
    background.close()
    background.close()


def test_things_are_done_at_once_and_come_back_in_order() -> None:
    """Each of three waits for the others: two threads would never end."""
    together = threading.Barrier(3, timeout=10)

    def meet(number: int) -> tuple[int, bool]:
        together.wait()
        return number, threading.current_thread().daemon

    assert at_once([partial(meet, number) for number in range(3)], 8) == [(0, True), (1, True), (2, True)]
    assert at_once([partial(pow, 2, number) for number in range(20)], 2) == [2**number for number in range(20)]
    assert at_once([], 2) == []


def test_after_an_error_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def do(number: int) -> float:
        begun.append(number)
        return 1 / (number - 1)

    with pytest.raises(ZeroDivisionError):
        at_once([partial(do, number) for number in range(1, 5)], 1)
    assert begun == [1]


def test_what_is_done_comes_as_soon_as_it_is() -> None:
    """The first waits for the second."""
    second = threading.Event()

    def do(number: int) -> int:
        if number == 0:
            assert second.wait(10)
        else:
            second.set()
        return 10 * number

    assert list(as_they_come(do, [0, 1], 2, threading.Event())) == [(1, 10), (0, 0)]


def test_whoever_stops_reading_stops_what_goes_on_and_has_no_more_begun() -> None:
    begun: list[int] = []
    waits, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def do(number: int) -> int:
        begun.append(number)
        if number == 1:
            waits.set()
            assert stop.wait(10)
            stop.clear()  # whoever asks next clears it
            ended.set()
        return number

    results = as_they_come(do, [0, 1, 2], 1, stop)
    assert next(results) == (0, 0)
    assert waits.wait(10)
    results.close()
    assert ended.wait(10)
    time.sleep(0.05)
    assert begun == [0, 1]


def test_an_interruption_comes_behind_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes where the first is waited for, once all three are there."""
    puts: list[Any] = []
    there, stop = threading.Event(), threading.Event()

    class Queue(SimpleQueue[Any]):
        def put(self, one: Any, *_: Any) -> None:
            super().put(one)
            puts.append(one)
            if len(puts) == 3:
                there.set()

        def get(self, *_: Any, **options: Any) -> Any:
            assert there.wait(10)
            if len(puts) == 3:
                puts.append(None)
                raise KeyboardInterrupt
            return super().get(**options)

    monkeypatch.setattr("burnish.run.background.SimpleQueue", Queue)
    found: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(as_they_come(lambda number: 10 * number, [0, 1, 2], 1, stop))
    assert stop.is_set()
    assert found == [(0, 0), (1, 10), (2, 20)]
