"""What all users of a served model share, against a real server on this machine."""

import threading
import time
from typing import Any

import pytest
from judge_servers import Seen, Status, judge_server

from burnish.evaluation.readings import FAILED, UNREAD, Reading
from burnish.evaluation.served_model import ServedModel, found_at
from burnish.run import UserError
from burnish.run.web import FailedRequestError, Peer

PEER = Peer("the scribe", "--scribe", "SCRIBE_KEY")
ASKED = [{"role": "user", "content": "q"}]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRIBE_KEY", raising=False)


def served(url: str, **options: Any) -> ServedModel:
    return ServedModel(url, "ruler", peer=PEER, **{"pause": 0.0} | options)


def read(reply: Any, requests: int) -> Reading:
    return Reading(None, requests=requests, text=reply["choices"][0]["message"]["content"])


def test_a_request_has_the_model_the_messages_and_the_options() -> None:
    with judge_server(lambda _: "yes") as log:
        one = served(log.url)
        assert one.answer(ASKED, 3, read, temperature=0.5, seed=4) == Reading(None, text="yes")
        assert (one.name, one.identity) == (f"ruler at {log.url}", f"ruler at {log.url}")
    expected = {"model": "ruler", "messages": ASKED, "stream": False, "temperature": 0.5, "seed": 4}
    assert log.requests[0].body == expected


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [({"total_tokens": 12}, 12), ({}, None), (None, None), ("12", None), ({"total_tokens": -1}, None)]
    + [({"total_tokens": one}, None) for one in (1.5, True, "12")],
)
def test_tokens_are_those_that_the_server_says(usage: Any, tokens: int | None) -> None:
    with judge_server(lambda _: {"choices": [{"message": {"content": "yes"}}], "usage": usage}) as log:
        assert served(log.url).answer(ASKED, 3, read) == Reading(None, text="yes", tokens=tokens)


def test_failures_are_repeated_and_counted() -> None:
    def third(_: Seen) -> Any:
        if len(log.requests) < 3:
            raise Status(500)
        return "yes"

    with judge_server(third) as log:
        assert served(log.url).answer(ASKED, 3, read) == Reading(None, requests=3, text="yes")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_text_may_be_the_cause_of_is_refused_once(status: int) -> None:
    def refuse(_: Seen) -> Any:
        raise Status(status)

    with judge_server(refuse) as log:
        found = served(log.url).answer(ASKED, 3, read)
    assert (found.kind, found.refused, found.requests) == (UNREAD, True, 1)


@pytest.mark.parametrize(
    ("answer", "requests", "said"),
    [
        (429, 2, "HTTP 429: not now"),
        (500, 2, "HTTP 500: not now"),
        (b"<html>Sorry</html>", 2, "the response is not JSON"),
        (b"", 2, "the response is not JSON"),
        ({"error": {"message": "no credit"}}, 2, "the response is an error: no credit"),
        *((status, 1, f"HTTP {status}: not now") for status in (302, 307, 402, 405, 410, 415, 451)),
        (401, 1, "the scribe at .* refused the request .*: correct the key in the environment variable SCRIBE_KEY"),
    ],
)
def test_what_may_pass_is_a_failure(answer: Any, requests: int, said: str) -> None:
    def rule(_: Seen) -> Any:
        if isinstance(answer, int):
            raise Status(answer)
        return answer

    with judge_server(rule) as log:
        found = served(log.url).answer(ASKED, 2, read)
    assert (found.kind, found.requests, len(log.requests)) == (FAILED, requests, requests)
    with pytest.raises(UserError, match=said):
        raise UserError(found.problem)


def test_a_server_that_hangs_up_is_a_failure() -> None:
    def hang_up(_: Seen) -> Any:
        raise ConnectionAbortedError

    with judge_server(hang_up) as log:
        found = served(log.url).answer(ASKED, 1, read)
    assert found.kind == FAILED


def test_pauses_double(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda _, seconds: pauses.append(seconds))
    for failures in range(4):
        served("http://127.0.0.1:9", pause=0.5).rest(failures)
    assert pauses == [0.5, 1.0, 2.0]


def test_whoever_stops_reading_ends_pauses_and_questions() -> None:
    """The second question waits for its next try, the third is not begun."""
    asked: list[int] = []
    waits, done = threading.Event(), threading.Event()
    one = served("http://127.0.0.1:9", at_once=1, pause=3600.0)

    def ask(number: int) -> int:
        asked.append(number)
        if number == 1:
            waits.set()
            one.rest(1)
            done.set()
        return number

    answers = one.each(ask, [0, 1, 2])
    assert next(answers) == (0, 0)
    assert waits.wait(10)
    answers.close()
    assert done.wait(10)
    time.sleep(0.05)
    assert asked == [0, 1]
    assert one.answer(ASKED, 3, read) == Reading(None, "nobody waits for the answer", 0, failed=True)


@pytest.mark.parametrize(("questions", "most", "tries"), [(2, None, 3), (2, 100, 3), (2, 5, 2), (4, 4, 1)])
def test_tries_are_as_many_as_are_left(questions: int, most: int | None, tries: int) -> None:
    assert served("http://127.0.0.1:9").tries_for(questions, most) == tries


def test_questions_are_asked_together_and_answers_have_their_places() -> None:
    """The first waits until the second is there."""
    second = threading.Event()

    def ask(number: int) -> int:
        if number == 0:
            assert second.wait(10)
        else:
            second.set()
        return 10 * number

    assert list(served("http://127.0.0.1:9", at_once=2).each(ask, [0, 1])) == [(1, 10), (0, 0)]


def test_the_only_model_is_found_and_of_several_one_has_to_be_named() -> None:
    with judge_server(lambda _: "yes") as log:
        address = log.url.removesuffix("/v1")
        assert found_at(address, None, 5.0, PEER, "--scribe-model") == (log.url, "ruler")
        assert found_at(f"{log.url}/chat/completions", "own", 5.0, PEER, "--scribe-model") == (log.url, "own")
    with judge_server(lambda _: "yes", ["a", "b"]) as log, pytest.raises(UserError) as caught:
        found_at(log.url, None, 5.0, PEER, "--scribe-model")
    assert str(caught.value) == f"the scribe at {log.url} needs a --scribe-model: it has a, b"
    with judge_server(lambda _: "yes", 404) as log, pytest.raises(UserError, match="it does not list its models"):
        found_at(log.url, None, 5.0, PEER, "--scribe-model")
    with pytest.raises(UserError, match=r"the scribe at .* does not respond .*: start it or correct --scribe"):
        found_at(log.url, "a", 5.0, PEER, "--scribe-model")


@pytest.mark.parametrize(("said", "waited"), [(7.0, [7.0, 7.0]), (0.0, [1.0, 2.0]), (1.5, [1.5, 2.0])])
def test_a_busy_server_is_left_alone_for_as_long_as_it_says(said: float, waited: list[float]) -> None:
    """The clock is one that notes how long it was waited for."""
    waits: list[float] = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(float(timeout or 0))
            return False

    class Busy(ServedModel):
        def reply(self, messages: Any, **options: Any) -> Any:
            raise FailedRequestError("HTTP 429", again=True, wait=said)

    one = Busy("http://127.0.0.1:9", "ruler", pause=1.0, peer=PEER)
    object.__setattr__(one, "stopped", Clock())
    assert one.answer(ASKED, 3, read).requests == 3
    assert waits == waited
