"""OpenEnv servers: what is asked of one, on a server and a client made here; `bench/adapters.py` runs the package's."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from burnish.environments.openenv import OpenEnv, field_of, shown
from burnish.run import UserError

TEXT, COUNT = {"type": "string"}, {"type": "integer"}


class Client:
    """Answers as an OpenEnv client does, and remembers what it was asked."""

    def __init__(self, base_url: str) -> None:
        self.asked: list[Any] = [base_url]

    def sync(self) -> "Client":
        return self

    def reset(self, seed: int) -> Any:
        self.asked.append(seed)
        return SimpleNamespace(observation={"text": "begin"}, reward=None, done=False)

    def step(self, action: dict[str, Any]) -> Any:
        self.asked.append(action)
        return SimpleNamespace(observation={"board": [1]}, reward=0.5, done=True)

    def close(self) -> None:
        self.asked.append("closed")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openenv", "openenv.core", "openenv.core.generic_client"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["openenv.core.generic_client"].GenericEnvClient = Client  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[Any]:
    """A server whose schema of actions is its `action`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"action": self.server.action}).encode()  # type: ignore[attr-defined]
            self.send_response(200 if self.path == "/schema" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    made: Any = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    made.address = f"http://127.0.0.1:{made.server_port}"
    yield made
    made.shutdown()


@pytest.mark.usefixtures("package")
def test_a_dialogue_with_a_server() -> None:
    environment = OpenEnv("http://there", "message")
    assert environment.reset({"prompt": "Play."}, 4) == [{"role": "user", "content": "Play.\nbegin"}]
    assert environment.step("go") == ([{"role": "user", "content": '{"board": [1]}'}], 0.5, True)
    assert environment.close() == 0.0
    assert environment.client.asked == ["http://there", 4, {"message": "go"}, "closed"]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("properties", "required"),
    [
        ({"message": TEXT}, ["message"]),
        ({"n": COUNT, "message": TEXT}, []),
        ({"x": TEXT, "message": TEXT}, ["message"]),
    ],
)
def test_the_message_goes_where_text_belongs(server: Any, properties: Any, required: list[str]) -> None:
    server.action = {"properties": properties, "required": required}
    assert field_of(server.address) == "message"


@pytest.mark.usefixtures("package")
def test_a_server_without_one_text_is_refused(server: Any) -> None:
    server.action = {"properties": {"x": TEXT, "y": TEXT}}
    with pytest.raises(UserError, match=r"its actions have x, y, and not one text"):
        field_of(server.address)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("address", "problem"),
    [("localhost:8000", "give the server's address"), ("http://127.0.0.1:9", "does not answer as an OpenEnv server")],
)
def test_an_address_without_a_server_is_refused(address: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        field_of(address)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openenv", None)
    with pytest.raises(UserError, match="needs the package openenv: pip install openenv"):
        field_of("http://127.0.0.1:9")


def test_an_observation_is_its_one_text() -> None:
    assert shown({"text": "hi", "n": 3}) == "hi"
    assert shown({"a": "é", "b": "x"}) == '{"a": "é", "b": "x"}'
