"""What every server of Burnish needs: the libraries, a port, requests that are JSON, and an end on Ctrl-C."""

import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any

from burnish.run import UserError, first_line

SECONDS_TO_END = 2


class RefusedError(Exception):
    """A request that is refused, with the HTTP status."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def web_server() -> Any:
    """The uvicorn package. Raises UserError where it is not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError("serving needs starlette and uvicorn: install burnish[serve]") from error
    return uvicorn


def opened(host: str, port: int, named: str | None = None) -> socket.socket:
    """A socket that listens there. Raises UserError where the port is in use, or the host is not of this machine;
    `named` is what the user gave to say so."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        named = named or f"--host {host} --port {port}"
        raise UserError(f"{named} cannot be opened ({reason}): choose another port") from error


def server_of(web: Any, app: Any, ending: Callable[[], None] = lambda: None) -> Any:
    """A uvicorn server of an app. `ending` is called when it is asked to end."""
    config = web.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    server = web.Server(config)
    end = server.handle_exit

    def handle(*signal: Any) -> None:
        ending()
        end(*signal)

    server.handle_exit = handle
    return server


def run_server(server: Any, listening: socket.socket) -> None:
    """Answer requests at a socket until the server is asked to end, or the process is interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def check_json(request: Any) -> None:
    """Raise RefusedError for a POST request that is not of JSON, as what a form of another site can send."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        raise RefusedError("the content type must be application/json", 415)


async def json_of(request: Any, most: int) -> Any:
    """A request's JSON, in UTF-8. Raises RefusedError for what is none, for text that is none, and for more than `most`
    bytes."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > most:
            raise RefusedError(f"the request has more than {most:,} bytes: make it smaller", 413)
    try:
        text = b"".join(parts).decode("utf-8-sig")
        found = json.loads(text)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError as problem:
        raise RefusedError("the request has half of a surrogate pair in a text: send whole characters") from problem
    except (ValueError, RecursionError) as problem:
        raise RefusedError(f"the request is not JSON ({first_line(problem)})") from problem
