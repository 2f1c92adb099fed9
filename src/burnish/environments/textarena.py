"""Games of the package textarena, for one player."""

import random
from typing import Any

from burnish.environments.interface import Environment, Messages, Step, opening
from burnish.run import UserError, first_line

PREFIX = "textarena/"
PLAYER = 0


class TextArena(Environment):
    """A dialogue with one of textarena's games: what the game says are user messages, the reward is the game's own.

    The row's prompt stands before the game's first message. The games draw from Python's own random numbers; each
    dialogue has them for itself.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.game = made(name)
        self.random = random.getstate()

    def reset(self, row: dict[str, Any], seed: int) -> Messages:
        self.playing(self.game.reset, num_players=1, seed=seed)
        return opening(row.get("prompt"), self.heard())

    def step(self, text: str) -> Step:
        ended, _ = self.playing(self.game.step, action=text)
        if not ended:
            return [{"role": "user", "content": self.heard()}], 0.0, False
        rewards, _ = self.game.close()
        return [], float((rewards or {}).get(PLAYER, 0.0)), True

    def heard(self) -> str:
        """What the game has said since the last message, without the player's own words."""
        _, said = self.game.get_observation()
        return "\n".join(text for sender, text, *_ in said if sender != PLAYER)

    def playing(self, call: Any, **options: Any) -> Any:
        """A call of the game with its own state of Python's random numbers."""
        before = random.getstate()
        random.setstate(self.random)
        try:
            return call(**options)
        finally:
            self.random = random.getstate()
            random.setstate(before)


def made(name: str) -> Any:
    """A game without the wrappers that repeat the whole history. Raises UserError where there is none."""
    try:
        import textarena
    except ImportError as error:
        raise UserError(
            f"--environment {PREFIX}{name} needs the package textarena: pip install textarena ({first_line(error)})"
        ) from error
    try:
        game = textarena.make(name)
    except ValueError as error:
        raise UserError(
            f"--environment {PREFIX}{name}: textarena has no game {name}, such as GuessTheNumber-v0"
        ) from error
    while hasattr(game, "env"):
        game = game.env
    return game
