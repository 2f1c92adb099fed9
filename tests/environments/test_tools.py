"""Classes whose methods are tools, as TRL takes them."""

import asyncio
import sys
import time
from typing import Any

import pytest

from burnish.environments.interface import CALLS, FAILURES, MALFORMED
from burnish.environments.tools import ToolEnvironment
from burnish.run import UserError


class Shop:
    """A class as written for TRL's `environment_factory`."""

    def reset(self, **columns: Any) -> str | None:
        self.stock, self.closed = dict(columns.get("stock", {})), False
        return columns.get("greeting")

    def buy(self, item: str, count: int = 1) -> str:
        """
        Buys an item.

        Args:
            item: The item's name.
            count: How many.
        """
        self.stock[item] -= count
        return f"{self.stock[item]} left"

    def wait(self) -> str:
        """Waits for ever."""
        time.sleep(60)
        return ""

    def leave(self) -> str:
        """Leaves the program."""
        sys.exit(0)

    def get_reward(self) -> float:
        return -float(sum(self.stock.values()))

    def close(self) -> None:
        self.closed = True

    def _hidden(self) -> str:
        return ""


def call(name: str, arguments: str = "{}") -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


def shop(**columns: Any) -> ToolEnvironment:
    environment = ToolEnvironment(Shop(), seconds=0.05)
    environment.reset({"prompt": "Buy tea.", "stock": {"tea": 3}} | columns, 0)
    return environment


def test_public_methods_are_the_tools_with_schemas() -> None:
    tools = {tool["function"]["name"]: tool["function"] for tool in shop().tools}
    assert set(tools) == {"buy", "wait", "leave"}
    parameters = tools["buy"]["parameters"]
    assert parameters["properties"]["item"] == {"type": "string", "description": "The item's name."}
    assert parameters["required"] == ["item"]


def test_what_reset_returns_is_said_behind_the_last_user_message() -> None:
    environment = ToolEnvironment(Shop())
    assert environment.reset({"prompt": "Buy tea."}, 0) == [{"role": "user", "content": "Buy tea."}]
    row = {"prompt": [{"role": "user", "content": "Buy tea."}], "greeting": "Open."}
    assert environment.reset(row, 0) == [{"role": "user", "content": "Buy tea.\nOpen."}]


def test_calls_are_answered_until_a_message_has_none() -> None:
    environment = shop()
    said = call("buy", '{"item": "tea"}') + call("buy", '{"item": "tea", "count": 2}')
    messages, reward, ended = environment.step(said)
    assert [message["content"] for message in messages] == ["2 left", "0 left"]
    assert messages[0] == {"role": "tool", "name": "buy", "content": "2 left"}
    assert (reward, ended) == (0.0, False)
    assert environment.step("Done.") == ([], 0.0, True)
    assert environment.close() == 0.0
    assert environment.played.closed
    assert environment.counts == {CALLS: 2, FAILURES: 0}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (call("buy", '{"item": "salt"}'), "error: KeyError: 'salt'"),
        (call("buy", '{"amount": 1}'), "error: TypeError"),
        (call("wait"), "error: wait took longer than 0.05 s"),
        (call("leave"), "error: SystemExit: 0"),
        (call("sell"), "error: there is no tool sell: the tools are buy, leave, wait"),
        (call("reset"), "error: there is no tool reset"),
        (call("_hidden"), "error: there is no tool _hidden"),
        ("<tool_call>buy tea", "error: a call must be JSON"),
    ],
)
def test_a_call_that_fails_is_answered_and_counted(said: str, answer: str) -> None:
    environment = shop()
    (message,), reward, ended = environment.step(said)
    assert message["content"].startswith(answer)
    assert (reward, ended) == (0.0, False)
    assert (environment.counts[CALLS], environment.counts[FAILURES]) == (1, 1)
    assert environment.counts[MALFORMED] == (1 if "JSON" in answer else 0)


class Door:
    """As written for TRL, with coroutines, and with a tool that is called as Burnish's own `close`."""

    async def reset(self, **columns: Any) -> str:
        await asyncio.sleep(0)
        self.loop, self.shut = asyncio.get_running_loop(), False
        return "A door."

    async def close(self, door: str) -> str:
        """
        Closes a door.

        Args:
            door: Its name.
        """
        await asyncio.sleep(0)
        self.shut = self.loop is asyncio.get_running_loop()
        return f"{door} is closed"

    async def wait(self) -> str:
        """Waits for ever."""
        await asyncio.sleep(60)
        return ""

    async def fail(self) -> str:
        """Fails."""
        raise KeyError("door")

    async def get_reward(self) -> float:
        await asyncio.sleep(0)
        return float(self.shut)


def through_a_door() -> Any:
    environment = ToolEnvironment(Door(), seconds=0.2)
    (opened,) = environment.reset({"prompt": "Close it."}, 0)
    said = call("wait") + call("fail") + call("close", '{"door": "It"}')
    messages, _, _ = environment.step(said)
    return [opened["content"], *(message["content"] for message in messages), environment.close()]


SAID = ["Close it.\nA door.", "error: wait took longer than 0.2 s", "error: KeyError: 'door'", "It is closed", 1.0]


def test_coroutines_are_awaited_in_one_loop() -> None:
    assert through_a_door() == SAID


def test_coroutines_are_awaited_in_a_notebook_too() -> None:
    """Whose thread runs an event loop already."""

    async def cell() -> Any:
        return through_a_door()

    assert asyncio.run(cell()) == SAID


def test_a_tool_that_cannot_be_described_is_refused() -> None:
    class Bare:
        def reset(self) -> None: ...

        def look(self, where):  # type: ignore[no-untyped-def]
            return where

    with pytest.raises(UserError, match=r"the tool .*look cannot be described to the model .* docstring"):
        ToolEnvironment(Bare())
