"""Three interfaces of objects that play: Gymnasium's on text, that of text environments, and Burnish's own."""

from typing import Any

from burnish.environments.gymlike import GymEnvironment, OwnEnvironment, TextEnvironment

HI = {"role": "user", "content": "hi"}


class Gym:
    closed = False

    def reset(self, *, seed: int | None = None) -> tuple[str, dict[str, Any]]:
        return f"seed {seed}", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return action.upper(), 0.5, action == "end", action == "cut", {}

    def close(self) -> None:
        self.closed = True


def test_gymnasiums_interface() -> None:
    environment = GymEnvironment(Gym())
    assert environment.reset({"prompt": "Play."}, 7) == [{"role": "user", "content": "Play.\nseed 7"}]
    assert environment.step("go") == ([{"role": "user", "content": "GO"}], 0.5, False)
    assert environment.step("end")[2]
    assert environment.step("cut")[2]
    assert environment.close() == 0.0
    assert environment.played.closed


class Text:
    def init(self, prompt: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return [{"role": "system", "content": "S"}, *prompt], {}

    def step(self, action: str) -> dict[str, Any]:
        return {"observations": [HI], "reward": 2, "done": action == "end", "metadata": {}}


def test_text_environments() -> None:
    environment = TextEnvironment(Text())
    begun = environment.reset({"prompt": "Play."}, 7)
    assert begun == [{"role": "system", "content": "S"}, {"role": "user", "content": "Play."}]
    assert environment.step("go") == ([HI], 2, False)
    assert environment.step("end")[2]
    assert environment.close() == 0.0


class Own:
    tools = ({"type": "function"},)

    def reset(self, row: dict[str, Any], seed: int) -> list[dict[str, Any]]:
        return [{"role": "user", "content": f"{row['prompt']} {seed}"}]

    def step(self, text: str) -> Any:
        return [HI], 1.0, False

    def close(self) -> Any:
        return 0.25


class Silent(Own):
    def close(self) -> Any:
        return None


def test_burnishs_own_interface() -> None:
    environment = OwnEnvironment(Own())
    assert environment.reset({"prompt": "p"}, 3) == [{"role": "user", "content": "p 3"}]
    assert environment.tools == [{"type": "function"}]
    assert environment.step("x") == ([HI], 1.0, False)
    assert environment.close() == 0.25
    assert OwnEnvironment(Silent()).close() == 0.0
