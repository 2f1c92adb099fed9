"""Ports and servers, beyond what tests/recipes/serve and tests/recipes/label do with them."""

import threading
import urllib.request

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from burnish.recipes.web import opened, run_server, server_of, web_server
from burnish.run import UserError


def test_a_port_in_use_is_named_as_the_user_gave_it() -> None:
    with opened("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"^--host 127\.0\.0\.1 --port {port} cannot be opened \(Address already"):
            opened("127.0.0.1", port)
        with pytest.raises(UserError, match=r"^--port 7 cannot be opened \(Address already in use\): choose another"):
            opened("127.0.0.1", port, "--port 7")
    with pytest.raises(UserError, match="cannot be opened"):
        opened("127.0.0.1", 70_000)


def test_a_server_ends_when_it_is_asked_to() -> None:
    """And says that it will, before the last reply is out; another thread of a client gets it."""
    told: list[str] = []
    listening = opened("127.0.0.1", 0)

    def end(request: object) -> PlainTextResponse:
        server.handle_exit(2, None)
        return PlainTextResponse("bye")

    server = server_of(web_server(), Starlette(routes=[Route("/", end)]), lambda: told.append("ending"))
    replies: list[bytes] = []
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    thread = threading.Thread(
        target=lambda: replies.append(urllib.request.urlopen(url, timeout=60).read()), daemon=True
    )
    thread.start()
    run_server(server, listening)
    thread.join(20)
    assert (told, replies) == (["ending"], [b"bye"])
