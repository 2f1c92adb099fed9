"""A served model for tests: on a free port of this machine, in a thread, with faults to put into what it does."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from running import running

from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.serve.app import app_of
from burnish.recipes.serve.engine import Engine
from burnish.recipes.web import opened

Change = Callable[[str, bytes], bytes | None]
"""What a fault makes of the body of a reply to a path; None cuts the connection."""


class Faulty:
    """The server's endpoints, behind something that changes replies; `requests` counts them by path."""

    def __init__(self, app: Any) -> None:
        self.app, self.change, self.delay = app, None, 0.0
        self.requests: list[str] = []

    change: Change | None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        self.requests.append(path)
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.change is None:
            await self.app(scope, receive, send)
            return
        began: list[Any] = []
        parts: list[bytes] = []

        async def keep(message: Any) -> None:
            if message["type"] == "http.response.start":
                began.append(message)
            else:
                parts.append(message.get("body", b""))

        await self.app(scope, receive, keep)
        body = self.change(path, b"".join(parts))
        if body is None:  # a length that is never reached
            headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"model": ', "more_body": False})
            return
        headers = [(name, value) for name, value in began[0]["headers"] if name != b"content-length"]
        await send(began[0] | {"headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


class Server:
    """A running server: its engine, its endpoints with their faults, and its address."""

    def __init__(self, engine: Engine, endpoints: Faulty, url: str) -> None:
        self.engine, self.endpoints, self.url = engine, endpoints, url

    @contextmanager
    def pretending(self) -> Iterator[None]:
        """Inside, it says of every weights but the first that it has them, and samples with those that it had."""
        engine, real = self.engine, self.engine.load

        def pretended(folder: str | None, version: int, sha256: str | None) -> dict[str, Any]:
            if version == 0:
                return real(folder, version, sha256)
            engine.sha256, engine.version = str(sha256), version
            return engine.facts

        engine.load = pretended  # type: ignore[method-assign]
        try:
            yield
        finally:
            engine.load = real  # type: ignore[method-assign]
            engine.sha256 = ""

    def well(self) -> None:
        """Take all faults out."""
        self.endpoints.change, self.endpoints.delay = None, 0.0
        self.endpoints.requests.clear()


@contextmanager
def serving(policy: LanguagePolicy, name: str = "tiny", token: str | None = None, port: int = 0) -> Iterator[Server]:
    """A server of this policy, which it alone may use until the block ends."""
    engine = Engine(policy, name)
    endpoints = Faulty(app_of(engine, token))
    listening = opened("127.0.0.1", port)
    try:
        with running(endpoints, listening, timeout_graceful_shutdown=1):
            try:
                yield Server(engine, endpoints, f"http://127.0.0.1:{listening.getsockname()[1]}")
            finally:
                engine.stopping.set()
    finally:
        engine.close()


def edited(edit: Callable[[dict[str, Any]], Any], path: str = "/v1/completions") -> Change:
    """A fault that edits the JSON of replies to one path."""

    def change(of: str, body: bytes) -> bytes:
        if of != path:
            return body
        content = json.loads(body)
        if "error" not in content:
            edit(content)
        return json.dumps(content).encode()

    return change
