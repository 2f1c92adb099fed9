"""Requests to servers; most of it is tested where it is used, in tests/evaluation/test_judge_server.py."""

import io
import json
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import HTTPError

import pytest

from burnish.run import UserError
from burnish.run.web import (
    FailedRequestError,
    Peer,
    _refusal,
    address,
    api,
    endpoint,
    events,
    is_loopback,
    request,
    said,
)

PEER = Peer("the clock", "--clock", "CLOCK_KEY")


class Silent(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on this machine, by its host and port."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def answering(body: bytes, status: int = 200, length: int | None = None) -> Iterator[str]:
    class Handler(Silent):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

    with served(Handler) as host:
        yield f"http://{host}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a:1", "http://a:1/v1"),
        ("http://a:1/", "http://a:1/v1"),
        ("http://a/v1/", "http://a/v1"),
        ("http://a/v1/chat/completions", "http://a/v1"),
        ("http://a/x/v1?key=b#c", "http://a/x/v1?key=b"),
    ],
)
def test_the_api_is_found(url: str, expected: str) -> None:
    assert api(url, PEER, "/chat/completions") == expected
    assert endpoint("http://a/v1?key=b", "models") == "http://a/v1/models?key=b"


def test_a_wrong_address_names_the_option() -> None:
    with pytest.raises(UserError, match=r"^--clock http://a b is not a URL|^--clock http://ab is not a URL"):
        address("http://a b", PEER)
    with pytest.raises(UserError, match="--clock http:// has no host"):
        address("http://", PEER)


def test_events_come_one_by_one_up_to_the_last() -> None:
    body = b'data: {"a": 1}\n\n: a comment\n\ndata: {"a": 2}\n\ndata: [DONE]\n\ndata: {"a": 3}\n\n'
    with answering(body) as url:
        assert list(events(url, 5, PEER, {})) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("body", "length", "problem"),
    [
        (b'data: {"a": 1}\n\n', None, "the reply was cut off"),
        (b"data: {\n\n", None, "an event is not JSON"),
    ],
)
def test_a_stream_that_is_cut_is_a_failed_request(body: bytes, length: int | None, problem: str) -> None:
    with answering(body, length=length) as url, pytest.raises(FailedRequestError, match=problem):
        list(events(url, 5, PEER, {}))


def test_a_reply_that_is_cut_is_a_failed_request() -> None:
    with answering(b'{"a": ', length=100) as url, pytest.raises(FailedRequestError, match=r"cut off|JSON") as caught:
        request(url, 0.5, PEER, {})
    assert caught.value.again


@pytest.mark.parametrize("key", ["tick-tock\n", "tick-tock\r", "tick-tück", "tick-tock\u2028", "tick-tock\x7f"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCK_KEY", key)
    with pytest.raises(UserError) as caught:
        request("http://127.0.0.1:9/v1", 1, PEER, {})
    assert str(caught.value) == (
        "the key in the environment variable CLOCK_KEY has a line break or a letter that no header can carry: correct "
        "it"
    )
    assert "tick" not in "".join(traceback.format_exception(caught.value))


def test_the_sentence_of_an_error_is_shown() -> None:
    assert said(b'{"error": {"message": "not now"}}') == "not now"
    assert said(b'{"error": "x"}') == '{"error": "x"}'
    assert said(b"<html>") == "<html>"
    sentence = r"^the clock at .* \(HTTP 401: no clock\): correct the key .*CLOCK_KEY$"
    with answering(b'{"error": {"message": "no clock"}}', 401) as url, pytest.raises(UserError, match=sentence):
        request(url, 5, PEER, {})


def test_a_response_that_is_an_error_is_a_failed_request_whatever_its_status() -> None:
    with answering(b'{"error": {"message": "no time"}}') as url, pytest.raises(FailedRequestError) as caught:
        request(url, 5, PEER, {})
    assert (str(caught.value), caught.value.again) == ("the response is an error: no time", True)
    with answering(b'{"error": null, "time": 5}') as url:
        assert request(url, 5, PEER, {}) == {"error": None, "time": 5}


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_no_part_of_a_key_is_shown(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the key at its 290th letter, and a second one far beyond."""
    key = "tick-tock-" * 3
    monkeypatch.setenv("CLOCK_KEY", key)
    body = json.dumps({"error": {"message": f"{'x' * 289} {key} {'x' * 1650} {key}"}}).encode()
    with answering(body, status) as url, pytest.raises((FailedRequestError, UserError)) as caught:
        request(url, 5, PEER, {})
    assert "x …" in str(caught.value)
    assert "tick" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [(429, "7", 7.0), (429, "3600", 60.0), (429, "soon", 0.0), (429, None, 0.0), (500, "7", 0.0)],
)
def test_how_long_a_busy_server_wants_to_be_left_alone(status: int, header: str | None, wait: float) -> None:
    headers = Message()
    if header is not None:
        headers["Retry-After"] = header
    error = HTTPError("http://a", status, "busy", headers, io.BytesIO(b"busy"))
    found = _refusal("http://a", error, True, PEER, [])
    assert isinstance(found, FailedRequestError)
    assert found.wait == wait


@contextmanager
def echoing() -> Iterator[str]:
    """A server that repeats the Authorization header, in a text, in JSON within a text and in events."""

    class Handler(Silent):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            header = self.headers["authorization"]
            found = json.dumps({"said": f"you sent {header}", "raw": json.dumps({"header": header})})
            if self.path == "/events":
                found = f"data: {found}\n\ndata: [DONE]\n\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found.encode())

    with served(Handler) as host:
        yield host


@pytest.mark.parametrize("key", ["tick-tock-tick", 'tick"tock/\\tick'])
def test_a_key_that_a_reply_repeats_is_taken_out(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCK_KEY", key)
    expected = {"said": "you sent Bearer …", "raw": '{"header": "Bearer …"}'}
    with echoing() as host:
        assert request(f"http://{host}/v1", 5, PEER, {}) == expected
        assert list(events(f"http://{host}/events", 5, PEER, {})) == [expected]


def test_a_user_and_password_that_a_reply_repeats_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOCK_KEY", raising=False)
    expected = {"said": "you sent Basic …", "raw": '{"header": "Basic …"}'}
    with echoing() as host:
        assert request(f"http://anna:open%20sesame@{host}/v1", 5, PEER, {}) == expected


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *((name, True) for name in ("127.0.0.1", "localhost", "127.0.0.1:8000", "localhost:1", "[::1]", "[::1]:8000")),
        *(
            (name, False)
            for name in ("", "evil.example", "127.0.0.1.evil.example", "[::1].evil.example", "[::1", "::1")
        ),
        *((name, False) for name in ("localhost:1.evil.example", "localhost:", "[]", "[127.0.0.1]x:1")),
    ],
)
def test_a_host_header_names_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) == own
