"""Environments with Gymnasium's interface whose observations and actions are text."""

from typing import Any

from burnish.environments.interface import Environment, Messages, Step, opening


class Wrapped(Environment):
    """The base of what makes an environment of a user's object, which may have a `close`."""

    def __init__(self, played: Any) -> None:
        super().__init__()
        self.played = played

    def close(self) -> Any:
        if hasattr(self.played, "close"):
            self.played.close()
        return 0.0


class GymEnvironment(Wrapped):
    """A dialogue with an object that has `reset(seed=…) -> (observation, info)` and
    `step(text) -> (observation, reward, terminated, truncated, info)`.

    The first observation is put behind the last user message of the row's prompt, each later one is a user message.
    """

    def reset(self, row: dict[str, Any], seed: int) -> Messages:
        observation, _ = self.played.reset(seed=seed)
        return opening(row.get("prompt"), str(observation))

    def step(self, text: str) -> Step:
        observation, reward, terminated, truncated, _ = self.played.step(text)
        return [{"role": "user", "content": str(observation)}], reward, bool(terminated or truncated)


class TextEnvironment(Wrapped):
    """A dialogue with an object that has `init(prompt) -> (messages, info)` and a `step(text)` that returns a dict of
    `observations` (messages), `reward` and `done`."""

    def reset(self, row: dict[str, Any], seed: int) -> Messages:
        messages, _ = self.played.init(opening(row.get("prompt")))
        return list(messages)

    def step(self, text: str) -> Step:
        found = self.played.step(text)
        return list(found["observations"]), found["reward"], bool(found["done"])


class OwnEnvironment(Wrapped):
    """A dialogue with an object that has `reset(row, seed)` and `step(text)`, as `Environment` has."""

    def reset(self, row: dict[str, Any], seed: int) -> Any:
        messages = self.played.reset(row, seed)
        self.tools = list(getattr(self.played, "tools", ()))
        return list(messages)

    def step(self, text: str) -> Step:
        messages, reward, ended = self.played.step(text)
        return list(messages), reward, bool(ended)

    def close(self) -> Any:
        given = self.played.close() if hasattr(self.played, "close") else None
        return 0.0 if given is None else given
