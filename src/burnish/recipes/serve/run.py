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
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.web import opened, run_server, server_of, web_server
from burnish.report.runs import short_names
from burnish.run import UserError, refuse_special
from burnish.run.web import LOOPBACK


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
    # what is being drawn ends at its next token
    server = server_of(web, app_of(engine, token, base.debug), engine.stopping.set)
    try:
        run_server(server, listening)
    finally:
        engine.close()
    say(base, "stopped")


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
