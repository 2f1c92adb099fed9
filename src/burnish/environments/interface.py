"""What an environment is: it begins a dialogue with messages, and answers each message of the policy.

Write one outside Burnish as a class with two methods, and name it as "module:Class":

    class Echo:
        def reset(self, row, seed):
            return [{"role": "user", "content": row["prompt"]}]

        def step(self, text):
            return [{"role": "user", "content": text}], 0.0, "stop" in text
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]

Step = tuple[Any, Any, bool]
"""What a step returns: messages in answer, the reward that the policy's message earned, and whether that was all. Users
write steps, so that messages and reward are checked where they are used."""

CALLS, FAILURES, MALFORMED, TIMEOUTS = "calls", "failures", "malformed", "timeouts"
"""What environments with tools count: calls of a tool, those that failed, texts that look like a call but are no
valid one, and calls that took too long."""


class Environment:
    """The base of every environment; a new object plays each dialogue. `reset` and `step` have to be written.

    `tools` are JSON schemas for the chat template; they may depend on the row, and are read after `reset`. `counts` are
    summed over a rollout. `limits_steps` says that a step keeps to limits of time of its own.
    """

    tools: Sequence[dict[str, Any]] = ()
    limits_steps = False

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def reset(self, row: dict[str, Any], seed: int) -> Any:
        """The messages that the dialogue begins with, for a row of the data with its `prompt` and its other columns.

        All dialogues of one row in a rollout have the same `seed`: they begin in the same state.
        """
        raise NotImplementedError(f"{type(self).__name__} has no reset")

    def step(self, text: str) -> Step:
        """The answer to the policy's next message."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def close(self) -> Any:
        """Called once when the dialogue is over, by itself or at a limit; the reward that is still to be given."""
        return 0.0


@dataclass(frozen=True)
class Maker:
    """Makes environments: `name` is what messages call them."""

    name: str
    make: Callable[[], Environment]


def opening(prompt: Any, more: str | None = None) -> Messages:
    """A row's prompt as messages, with more text behind its last user message, where the environment has something to
    say. Text alone is a user message."""
    if prompt is None:
        messages: Messages = []
    elif isinstance(prompt, str):
        messages = [{"role": "user", "content": prompt}]
    else:
        messages = [dict(message) for message in prompt]
    if not more:
        return messages
    if not messages or messages[-1].get("role") != "user":
        return [*messages, {"role": "user", "content": more}]
    messages[-1]["content"] = f"{messages[-1]['content']}\n{more}"
    return messages
