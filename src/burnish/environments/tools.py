"""Classes whose methods are tools, as TRL's `environment_factory` takes them.

    class Shop:
        def reset(self, **columns):
            self.stock = {"tea": 3}

        def count(self, item: str) -> str:
            \"\"\"
            How many of an item are in stock.

            Args:
                item: The item's name.
            \"\"\"
            return str(self.stock.get(item, 0))

Every public method but `reset`, `get_reward` and a `close` without parameters is a tool, described to the model by its
annotations and its docstring. What `reset` returns is put behind the last user message. The dialogue ends with the
first message that calls no tool; `get_reward`, if there is one, scores it then. All of them may be `async`.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from transformers.utils import get_json_schema

from burnish.environments.calls import Call, calls_in
from burnish.environments.coroutines import awaited
from burnish.environments.interface import CALLS, FAILURES, MALFORMED, TIMEOUTS, Environment, Messages, Step, opening
from burnish.environments.limits import TooSlow, limited
from burnish.run import UserCodeError, UserError, user_code

NOT_TOOLS = {"reset", "get_reward"}


class ToolEnvironment(Environment):
    """A dialogue with the tools of `played`, an object of a class as above.

    A tool that raises, or that takes longer than `seconds`, answers with what went wrong, as a tool that does not exist
    and a call that is not valid do; all are counted. What `reset` and `get_reward` raise is raised.
    """

    limits_steps = True

    def __init__(self, played: Any, tokenizer: Any = None, seconds: float = 10.0) -> None:
        super().__init__()
        self.played, self.tokenizer, self.seconds = played, tokenizer, seconds
        self.methods = tools_of(played)
        self.tools = [schema(method) for method in self.methods.values()]

    def reset(self, row: dict[str, Any], seed: int) -> Messages:
        return opening(row.get("prompt"), awaited(self.played.reset(**row)))

    def step(self, text: str) -> Step:
        calls = calls_in(text, self.tokenizer)
        return [self.answer(call) for call in calls], 0.0, not calls

    def close(self) -> Any:
        given = awaited(self.played.get_reward()) if hasattr(self.played, "get_reward") else 0.0
        if hasattr(self.played, "close") and "close" not in self.methods:
            awaited(self.played.close())
        return given

    def answer(self, call: Call) -> dict[str, Any]:
        """The message of a tool that was called."""
        self.counts[CALLS] += 1
        said, failed = self.called(call)
        self.counts[FAILURES] += failed
        return {"role": "tool", "name": call.name, "content": said}

    def called(self, call: Call) -> tuple[str, bool]:
        """What a call returned as text, and whether it failed."""
        if call.problem is not None:
            self.counts[MALFORMED] += 1
            return f"error: {call.problem}", True
        if call.name not in self.methods:
            return f"error: there is no tool {call.name}: the tools are {', '.join(self.methods)}", True
        try:
            with user_code():
                return str(limited(partial(self.returned, call), self.seconds)), False
        except UserCodeError as error:
            if isinstance(error.cause, TooSlow):
                self.counts[TIMEOUTS] += 1
                return f"error: {call.name} took longer than {self.seconds:g} s", True
            return f"error: {error}", True

    def returned(self, call: Call) -> Any:
        return awaited(self.methods[call.name](**call.arguments))


def tools_of(played: Any) -> dict[str, Callable[..., Any]]:
    """The methods of an object that are tools, by name."""
    public = {name: method for name, method in inspect.getmembers(played, inspect.ismethod) if name[0] != "_"}
    return {name: method for name, method in public.items() if name not in NOT_TOOLS and not ends(name, method)}


def ends(name: str, method: Callable[..., Any]) -> bool:
    """Whether a method is the `close` that ends a dialogue, and no tool that closes something."""
    return name == "close" and not inspect.signature(method).parameters


def schema(method: Callable[..., Any]) -> dict[str, Any]:
    """A tool's JSON schema. Raises UserError for a method without annotations or docstring."""
    try:
        return get_json_schema(method)
    except Exception as error:  # transformers has several kinds for what is missing
        name = getattr(method, "__qualname__", "?")
        raise UserError(
            f"the tool {name} cannot be described to the model ({' '.join(str(error).split())[:200]}): give its "
            "parameters annotations, and its docstring a sentence and an Args section"
        ) from error
