"""What every server of Burnish needs: the libraries, a port, and an end on Ctrl-C."""

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from burnish.run import UserError

SECONDS_TO_END = 2


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
