"""Environments of the package openenv: servers that are reached at a web address."""

import json
from typing import Any
from urllib.request import urlopen

from burnish.environments.interface import Environment, Messages, Step, opening
from burnish.run import UserError, first_line

PREFIX = "openenv:"
SECONDS = 10


class OpenEnv(Environment):
    """A dialogue with an OpenEnv server. The policy's message is the one text that the server's actions have; what it
    observes is a user message: its one text, or else its JSON.

    `field` is the action's field for the message.
    """

    def __init__(self, address: str, field: str) -> None:
        super().__init__()
        from openenv.core.generic_client import GenericEnvClient

        self.field = field
        self.client = GenericEnvClient(base_url=address).sync()

    def reset(self, row: dict[str, Any], seed: int) -> Messages:
        found = self.client.reset(seed=seed)
        return opening(row.get("prompt"), shown(found.observation))

    def step(self, text: str) -> Step:
        found = self.client.step({self.field: text})
        return [{"role": "user", "content": shown(found.observation)}], found.reward or 0.0, bool(found.done)

    def close(self) -> float:
        self.client.close()
        return 0.0


def shown(observation: dict[str, Any]) -> str:
    """An observation as text."""
    texts = [value for value in observation.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else json.dumps(observation, ensure_ascii=False)


def field_of(address: str) -> str:
    """The field of a server's actions that takes text. Raises UserError where it cannot be found."""
    try:
        import openenv.core.generic_client  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--environment {PREFIX}{address} needs the package openenv: pip install openenv ({first_line(error)})"
        ) from error
    if not address.startswith(("http://", "https://")):
        raise UserError(
            f"--environment {PREFIX}{address}: give the server's address, as in {PREFIX}http://localhost:8000"
        )
    try:
        with urlopen(f"{address.rstrip('/')}/schema", timeout=SECONDS) as answer:
            action = json.load(answer)["action"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"--environment {PREFIX}{address} does not answer as an OpenEnv server: {first_line(error)}"
        ) from error
    properties = action.get("properties", {})
    texts = [name for name, about in properties.items() if about.get("type") == "string"]
    required = [name for name in texts if name in action.get("required", [])]
    found = required if len(required) == 1 else texts
    if len(found) != 1:
        raise UserError(
            f"--environment {PREFIX}{address}: its actions have {', '.join(properties) or 'no fields'}, and not one "
            "text that a message could be: write a class that makes them, and give it as module:Class"
        )
    return found[0]
