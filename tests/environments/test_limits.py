"""Limits of time: kept in the main thread and in others."""

import signal
import threading
import time
from typing import Any

import pytest

from burnish.environments.limits import TooSlow, limited, within


def endless() -> None:
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # a tool that catches its own errors goes on
            continue


def in_a_thread(work: Any) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_a_quick_call_returns_and_leaves_no_alarm_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert limited(lambda: 3, 5.0) == 3
    assert in_a_thread(lambda: limited(lambda: 3, 5.0)) == 3
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_call_without_an_end_is_interrupted() -> None:
    with pytest.raises(TooSlow):
        limited(endless, 0.05)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def deaf(rounds: int) -> str:
    for _ in range(rounds):
        try:
            time.sleep(0.3)
        except:  # noqa: E722, as people write it
            continue
    return "done"


@pytest.mark.parametrize("rounds", [1, 10**9])
def test_a_call_that_catches_everything_is_too_slow_all_the_same(rounds: int) -> None:
    with pytest.raises(TooSlow):
        limited(lambda: deaf(rounds), 0.05)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_late_error_is_too_slow() -> None:
    def late() -> None:
        try:
            time.sleep(5)
        except BaseException:
            raise ValueError from None

    with pytest.raises(TooSlow):
        limited(late, 0.05)


def test_the_option_of_a_limit_is_named() -> None:
    with pytest.raises(TimeoutError, match=r"it took longer than 0\.05 s, the limit of some_option"):
        within(endless, 0.05, "some_option")


def test_in_another_thread_it_is_left_alone() -> None:
    assert isinstance(in_a_thread(lambda: limited(lambda: time.sleep(0.5), 0.02)), TooSlow)


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0, 5.0)
    assert isinstance(in_a_thread(lambda: limited(lambda: 1 / 0, 5.0)), ZeroDivisionError)
