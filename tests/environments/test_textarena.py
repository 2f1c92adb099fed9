"""Games of textarena: here on a game with its interface; `bench/adapters.py` plays the package's own."""

import random
import sys
from types import ModuleType
from typing import Any

import pytest

from burnish.environments.textarena import TextArena
from burnish.run import UserError


class Dice:
    """A game in textarena's manner: three throws of Python's own dice, and who says the last one wins."""

    def reset(self, num_players: int, seed: int) -> None:
        random.seed(seed)
        self.throws, self.said = [random.randint(1, 6)], [(-1, "You play dice.", 1)]

    def get_observation(self) -> tuple[int, list[tuple[int, str, int]]]:
        said, self.said = self.said, []
        return 0, said

    def step(self, action: str) -> tuple[bool, dict[str, Any]]:
        self.last = action
        self.throws.append(random.randint(1, 6))
        self.said = [(0, action, 2), (-1, f"threw {self.throws[-1]}", 4)]
        return len(self.throws) == 3, {}

    def close(self) -> tuple[dict[int, float], dict[int, Any]]:
        return {0: float(self.last == str(self.throws[-1]))}, {}


class Wrapped:
    def __init__(self) -> None:
        self.env = Dice()


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("textarena")

    def make(name: str) -> Any:
        if name != "Dice-v0":
            raise ValueError("not found in registry")
        return Wrapped()

    module.make = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "textarena", module)


def throws(seed: int) -> list[int]:
    dice = random.Random(seed)
    return [dice.randint(1, 6) for _ in range(3)]


@pytest.mark.usefixtures("arena")
def test_two_games_at_once_do_not_share_their_dice() -> None:
    games = [TextArena("Dice-v0"), TextArena("Dice-v0")]
    for game, seed in zip(games, (1, 2), strict=True):
        assert game.reset({"prompt": "Play."}, seed) == [{"role": "user", "content": "Play.\nYou play dice."}]
    for game, seed in zip(games, (1, 2), strict=True):
        assert game.step("1") == ([{"role": "user", "content": f"threw {throws(seed)[1]}"}], 0.0, False)
    assert games[0].step(str(throws(1)[2])) == ([], 1.0, True)
    assert games[1].step("7") == ([], 0.0, True)


@pytest.mark.usefixtures("arena")
def test_a_game_leaves_pythons_random_numbers_alone() -> None:
    game = TextArena("Dice-v0")
    before = random.getstate()
    game.playing(random.random)
    after = random.getstate()  # compared later: what checks types while tests run draws numbers too
    assert after == before


@pytest.mark.usefixtures("arena")
def test_a_game_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="textarena has no game Chess"):
        TextArena("Chess")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textarena", None)
    with pytest.raises(UserError, match=r"needs the package textarena: pip install textarena"):
        TextArena("Dice-v0")
