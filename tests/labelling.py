"""A label server for tests, and sessions over a few invented pairs."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import running

from burnish.recipes.label.app import Pages
from burnish.recipes.label.file import LabelFile
from burnish.recipes.label.pairs import Pair, checksum
from burnish.recipes.label.plan import Plan
from burnish.recipes.label.session import Session
from burnish.recipes.web import opened

TOKEN = "sesame"
EVIL = "<b>bold</b><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"


def pairs(count: int) -> list[Pair]:
    """Pair i asks question i; the answers a and b can be told apart by their letter."""
    return [
        Pair(i, f"question {i}", f"A{i} {EVIL}", f"B{i}\n\n```python\nprint({i})\n```\nand more") for i in range(count)
    ]


def session(
    path: Path, count: int = 6, raters: tuple[str, ...] = ("anna",), strengths: bool = False, **knobs: Any
) -> Session:
    shown = pairs(count)
    return Session(
        shown, Plan(raters, **{"shared": 1.0, "repeat": 0.0} | knobs), LabelFile(path, checksum(shown)), strengths
    )


def reply(view: dict[str, Any], verdict: str, number: int, **others: Any) -> dict[str, Any]:
    """The answer that the page sends to what it shows."""
    found = {key: view[key] for key in ("rater", "place", "pair", "showing", "standing")}
    found |= {"id": f"{number:032x}", "verdict": verdict, "strength": None, "note": "", "seconds": 1.25}
    return found | {"revises": view["previous"] and view["previous"]["id"]} | others


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass
class Server:
    port: int
    pages: Pages
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def ask(
        self, path: str, body: Any = None, method: str | None = None, token: str = TOKEN, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, content and headers of a reply; `Content_Type` as a keyword is the header Content-Type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if data is None else "POST"), f"/{token}/{path}", data, sent)
        found = connection.getresponse()
        content, said = found.read().decode(), {name.lower(): value for name, value in found.getheaders()}
        connection.close()
        is_json = said.get("content-type", "").startswith("application/json")
        return found.status, json.loads(content) if is_json else content, said


@contextmanager
def serving(one: Session, guideline: str = "", port: int = 0) -> Iterator[Server]:
    """A server of this session on a free port, until the block ends."""
    listening = opened("127.0.0.1", port)
    pages = Pages(one, TOKEN, guideline)
    found = Server(listening.getsockname()[1], pages)
    pages.end = found.ended.set
    try:
        with running(pages.app(), listening):
            yield found
    finally:
        one.file.close()
