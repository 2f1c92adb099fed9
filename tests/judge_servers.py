"""A small server that speaks OpenAI's chat-completions protocol, in a thread, on a port of its own."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Rule = Callable[["Seen"], Any]
_QUESTION = re.compile(r"<first>\n(.*)\n</first>.*<second>\n(.*)\n</second>", re.DOTALL)


@dataclass
class Seen:
    """What a request asked: the answers in the order shown, the request itself, how often this question came before."""

    first: str
    second: str
    body: dict[str, Any]
    headers: dict[str, str]
    time: int


@dataclass
class Log:
    url: str = ""
    requests: list[Seen] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)


class Status(Exception):  # noqa: N818
    """Raised by a rule: answer with this status."""


def longer(seen: Seen) -> str:
    """A judge by a rule: the longer answer is better."""
    lengths = len(seen.first), len(seen.second)
    return "TIE" if lengths[0] == lengths[1] else "FIRST" if lengths[0] > lengths[1] else "SECOND"


@contextmanager
def judge_server(rule: Rule, models: list[str] | int = 200, key: str | None = None) -> Iterator[Log]:
    """A server whose `rule` says what to reply to each question; `models` are listed, or the status of that request."""
    log = Log()
    told = ["ruler"] if models == 200 else models

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.refused():
                return
            if self.page() != "/v1/models" or isinstance(told, int):
                self.send(told if isinstance(told, int) else 404, {"error": "no such page"})
            else:
                self.send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in told]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.refused():
                return
            if self.page() != "/v1/chat/completions":
                return self.send(404, {"error": "no such page"})
            asked = next(one for one in body["messages"] if one["role"] == "user")
            found = _QUESTION.search(asked["content"])
            pair = found.groups() if found else ("", "")
            seen = Seen(*pair, body, dict(self.headers), sum((s.first, s.second) == pair for s in log.requests))
            log.requests.append(seen)
            try:
                reply = rule(seen)
            except Status as status:
                return self.send(status.args[0], {"error": {"message": "not now"}})
            if isinstance(reply, str):
                reply = {"choices": [{"index": 0, "message": {"role": "assistant", "content": reply}}]}
            self.send(200, reply)

        def page(self) -> str:
            path, _, query = self.path.partition("?")
            log.queries.append(query)
            return path

        def refused(self) -> bool:
            if key is None or self.headers.get("Authorization") in (f"Bearer {key}", key):
                return False
            self.send(401, {"error": {"message": f"wrong key {self.headers.get('Authorization', '')}"}})
            return True

        def send(self, status: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if status in (301, 302, 307):
                    self.send_header("Location", "/v1/models")
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever asked has gone

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    log.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield log
    finally:
        server.shutdown()
        server.server_close()


def slowly(seconds: float, rule: Rule = longer) -> Rule:
    """A rule that takes its time."""

    def later(seen: Seen) -> Any:
        time.sleep(seconds)
        return rule(seen)

    return later
