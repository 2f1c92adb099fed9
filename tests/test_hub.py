"""The one short try to reach the hub, at servers of this machine that answer, refuse, fail and are silent."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import datasets.config
import pytest
from huggingface_hub import constants

from burnish import hub


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    return monkeypatch


def ask(monkeypatch: pytest.MonkeyPatch, address: str) -> bool:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    return hub.reachable.__wrapped__()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (404, True), (503, False)])
def test_an_answer_is_what_counts(online: pytest.MonkeyPatch, status: int, expected: bool) -> None:
    """Also one that says no; but not one that says later."""

    class Answering(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert ask(online, f"http://127.0.0.1:{server.server_port}") is expected
    server.server_close()
    assert constants.HF_HUB_OFFLINE is datasets.config.HF_HUB_OFFLINE is not expected


def test_silence_is_waited_for_once_and_not_long(online: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert not ask(online, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 3
    assert constants.HF_HUB_OFFLINE
    assert datasets.config.HF_HUB_OFFLINE


def test_a_port_that_refuses_and_an_address_that_is_none(online: pytest.MonkeyPatch) -> None:
    assert not ask(online, "http://127.0.0.1:9")
    online.setattr(constants, "HF_HUB_OFFLINE", False)
    assert not ask(online, "no address")


def test_who_is_offline_by_choice_has_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "reachable", lambda: False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert hub.silent()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.silent()


def test_nothing_is_asked_where_the_client_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_ask", lambda *_: pytest.fail("asked"))
    assert not ask(monkeypatch, "http://127.0.0.1:9")
