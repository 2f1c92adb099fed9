"""`burnish serve MODEL`: load it, open the port, and answer until Ctrl-C."""

import os
import socket
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.policies.language.connection import KEY
from burnish.policies.language.policy import load_policy
from burnish.recipes.assets import resolve_model
from burnish.recipes.serve.engine import Engine
from burnish.recipes.train.models import loading_of, pick_device, say
from burnish.recipes.train.run import prepare_torch
from burnish.report.runs import short_names
from burnish.run import UserError, refuse_special
from burnish.run.web import LOOPBACK

SECONDS_TO_END = 2


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    token_file: str | Path | None = None,
    base: Settings | None = None,
) -> None:
    """Serve a model at `host` and `port` until Ctrl-C; port 0 is any free one.

    The token is `token`, the content of `token_file`, or the value of BURNISH_SERVER_TOKEN; a host other than this
    machine needs one. Raises UserError where it has none, where the port cannot be opened, and for a model that cannot
    be loaded.
    """
    base = base or Settings()
    web = web_server()
    token = token_of(token, token_file)
    if host not in LOOPBACK and token is None:
        raise UserError(
            f"--host {host} lets other machines in, so that the server needs a token: set the environment variable "
            f"{KEY}, or give --token-file"
        )
    with opened(host, port) as listening:
        prepare_torch(base)
        policy = load_policy(resolve_model(model), pick_device(base.device), base.precision, loading=loading_of(base))
        policy.dropout(False)
        engine = Engine(policy, short_names([Path(model)])[0])
        run(web, engine, listening, token, base)


def run(web: Any, engine: Engine, listening: socket.socket, token: str | None, base: Settings) -> None:
    """Answer requests at a socket until the process is interrupted."""
    from burnish.recipes.serve.app import app_of

    name, port = listening.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    say(base, f"{engine.name} is served at http://{shown}:{port}/v1; Ctrl-C ends it")
    config = web.Config(
        app_of(engine, token, base.debug),
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    server = web.Server(config)
    ending = server.handle_exit

    def end(*signal: Any) -> None:
        engine.stopping.set()  # what is being drawn ends at its next token
        ending(*signal)

    server.handle_exit = end
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        engine.close()
    say(base, "stopped")


def web_server() -> Any:
    """The uvicorn package. Raises UserError where it is not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError("serving needs starlette and uvicorn: install burnish[serve]") from error
    return uvicorn


def token_of(token: str | None, file: str | Path | None) -> str | None:
    """The token that was given in one of three ways. Raises UserError for two, and for a file without one."""
    if token is not None and file is not None:
        raise UserError("--token and --token-file both give the token: leave one out")
    found = token if token is not None else os.environ.get(KEY)
    if file is not None:
        refuse_special(Path(file))
        try:
            found = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UserError(f"--token-file {file} cannot be read ({error}): give a file with the token") from error
    if found is not None and not (found.isascii() and found.isprintable() and found and " " not in found):
        raise UserError("the server's token must be printable ASCII characters without spaces: give another one")
    return found


def opened(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises UserError where the port is in use, or the host is not of this machine."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        raise UserError(f"--host {host} --port {port} cannot be opened ({reason}): choose another port") from error
