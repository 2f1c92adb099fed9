"""Plays environments of the real packages textarena and openenv through Burnish's adapters.

Neither package is a dependency; install them beside Burnish (`pip install textarena openenv`) and run this file. It
ends with status 1 where something is not as it should be.
"""

import re
import socket
import threading
import time
from typing import Any

from burnish.environments.load import resolve_environment

ROW = {"prompt": "Play."}


def guess_the_number() -> None:
    """textarena's GuessTheNumber by halving: the game is won, and the same seed is the same game."""
    made = resolve_environment("textarena/GuessTheNumber-v0")
    games = [made.make() for _ in range(2)]
    opened = [game.reset(ROW, seed=5)[0]["content"] for game in games]
    assert opened[0] == opened[1], opened
    low, high = map(int, re.findall(r"between (\d+) and (\d+)", opened[0])[0])
    reward, ended = 0.0, False
    while not ended:
        middle = (low + high) // 2
        (heard, reward, ended), (again, _, _) = (game.step(f"[{middle}]") for game in games)
        assert heard == again, (heard, again)
        if not ended:
            low, high = (middle + 1, high) if "higher" in heard[0]["content"] else (low, middle - 1)
    assert reward > 0, reward
    print(f"textarena/GuessTheNumber-v0: won with {middle}, reward {reward}")


def echo_server() -> str:
    """An OpenEnv server in this process that repeats what it hears; "stop" ends the episode. Returns its address."""
    import uvicorn
    from openenv.core.env_server import create_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, Observation, State

    class Say(Action):
        message: str

    class Heard(Observation):
        text: str = ""

    class Echo(Environment):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._state = State()

        def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Heard:
            return Heard(text=f"seed {seed}", reward=0.0, done=False)

        def step(self, action: Say, **options: Any) -> Heard:
            return Heard(text=action.message.upper(), reward=0.5, done=action.message == "stop")

        @property
        def state(self) -> State:
            return self._state

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = create_app(Echo, Say, Heard, env_name="echo")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}"


def echo() -> None:
    """An OpenEnv server: seed, text, reward and end arrive."""
    address = echo_server()
    played = resolve_environment(f"openenv:{address}").make()
    assert played.reset(ROW, seed=5) == [{"role": "user", "content": "Play.\nseed 5"}]
    assert played.step("hi") == ([{"role": "user", "content": "HI"}], 0.5, False)
    assert played.step("stop")[2]
    played.close()
    print(f"openenv:{address}: seed, text, reward and end arrive")


if __name__ == "__main__":
    guess_the_number()
    echo()
