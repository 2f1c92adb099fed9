"""Environments whose episodes are known beforehand, and such as fail, end late or want what no policy here can do.

`recipes.classic_worlds:Stairs-v0` names one of them also for a process that has not seen this module.
"""

import multiprocessing
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Sequence

HERE = "recipes.classic_worlds"


class Stairs(gymnasium.Env):
    """Three steps, whatever one does, which earn 1, 2 and 4."""

    observation_space = Box(0, 3, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.height = 0
        return self.seen(), {}

    def step(self, action: int) -> Any:
        self.height += 1
        return self.seen(), float(2 ** (self.height - 1)), self.height == 3, False, {}

    def seen(self) -> np.ndarray:
        return np.array([self.height], np.float32)


class Told(Stairs):
    """Stairs on which a step to the right earns its number, 1, 2 or 4, and one to the left nothing."""

    def step(self, action: int) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, reward * int(action), *rest


class Loose(Stairs):
    """Stairs of which those made `loose`-th, counted from 0 on, give way on the second step of the third episode."""

    made = 0

    def __init__(self, fault: str = "raise", loose: int = 1) -> None:
        self.fault = fault if Loose.made == loose or loose < 0 else "none"
        self.episode = 0
        Loose.made += 1

    def step(self, action: int) -> Any:
        self.episode += self.height == 0
        observation, reward, terminated, truncated, infos = super().step(action)
        if self.fault != "none" and (self.episode, self.height) == (3, 2):
            if self.fault == "raise":
                raise RuntimeError("the third\n stair is loose")
            if self.fault == "reward":
                reward = np.nan
            else:
                observation = observation * np.nan
        return observation, reward, terminated, truncated, infos


class Broken(Stairs):
    """Stairs of which the second gives an observation, a reward or an end that no step may give, as `fault` says."""

    def __init__(self, fault: str = "shape") -> None:
        self.fault = fault

    def step(self, action: int) -> Any:
        observation, reward, *rest = super().step(action)
        if self.height < 2:
            return observation, reward, *rest
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "_exit":
            os._exit(3)
        rewards = {"reward": np.nan, "array": np.ones(1), "text": "much", "no reward": None, "large": 1e39}
        seen = {"shape": np.zeros(2, np.float32), "observation": observation * np.inf}
        return seen.get(self.fault, observation), rewards.get(self.fault, reward), *rest


class Sides(gymnasium.Env):
    """Sixteen times 1000 or 1001 is seen, each as likely; action 0 earns 1 at the one, and action 1 at the other."""

    observation_space = Box(0, 2000, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def step(self, action: int) -> Any:
        earned, self.steps = float(int(action) == self.side), self.steps + 1
        return self.seen(), earned, self.steps == 16, False, {}

    def seen(self) -> np.ndarray:
        self.side = int(self.np_random.integers(2))
        return np.array([1000 + self.side], np.float32)


class Slow(Stairs):
    """Stairs that take a while, but for those of the first process that began to climb; tells `folder` who climbs."""

    def __init__(self, folder: str) -> None:
        self.folder, self.fast = Path(folder), False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None and multiprocessing.parent_process() is not None:
            try:
                (self.folder / "first").touch(exist_ok=False)
                self.fast = True
            except FileExistsError:
                (self.folder / f"slow-{os.getpid()}").touch()
        return super().reset(seed=seed, options=options)

    def step(self, action: int) -> Any:
        time.sleep(0 if self.fast else 0.3)
        return super().step(action)


class Rich(Stairs):
    """Stairs that earn `size` times as much in the second run, of `copies` each, and look `seen` times as high."""

    made = 0

    def __init__(self, size: float = 1.0, copies: int = 1, seen: float = 1.0) -> None:
        self.size, self.copies, self.times, self.odd = size, copies, seen, False
        self.observation_space = Box(0, 3 * seen, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.odd = Rich.made // self.copies == 1
            Rich.made += 1
        return super().reset(seed=seed, options=options)

    def step(self, action: int) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, reward * (self.size if self.odd else 1.0), *rest

    def seen(self) -> np.ndarray:
        return np.array([self.height * self.times], np.float32)


class Counted(Rich):
    """Rich stairs that say the number of the stair, which is the next one up wherever it leads."""

    def __init__(self, size: float = 1.0, copies: int = 1) -> None:
        super().__init__(size, copies)
        self.observation_space = Discrete(4)  # type: ignore[assignment]

    def seen(self) -> Any:
        return self.height


class Driven(Rich):
    """Rich stairs that earn, beside, how near the action is to 4 in the range of −2 to 6."""

    action_space = Box(-2, 6, (1,), np.float32)  # type: ignore[assignment]

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        observation, reward, *rest = super().step(0)
        return observation, reward - float(abs(action[0] - 4.0)), *rest


class Endless(Stairs):
    """Stairs without a top; on step `pressed` of an episode someone presses Ctrl-C."""

    def __init__(self, pressed: int | None = None) -> None:
        self.pressed = pressed

    def step(self, action: int) -> Any:
        self.height += 1
        if self.height == self.pressed:
            subprocess.run(["kill", "-INT", str(os.getpid())], check=True)
        return np.zeros(1, np.float32), 1.0, False, False, {}


class Pictures(Stairs):
    """Stairs seen as pictures of 8 × 8 pixels, with two choices a step."""

    observation_space = Box(0, 255, (8, 8, 3), np.uint8)
    action_space = MultiDiscrete([2, 3])

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        observation, _, *rest = super().step(0)
        return observation, float(action.sum()), *rest

    def seen(self) -> np.ndarray:
        return np.full((8, 8, 3), 60 * self.height, np.uint8)


class Chosen(Stairs):
    """Stairs with two choices a step, 1 or 2 and 0, 1 or 2, which earn their sum."""

    action_space = MultiDiscrete([2, 3], start=[1, 0])

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        observation, _, *rest = super().step(0)
        return observation, float(action.sum()), *rest


class Unread(Stairs):
    """Observations that no policy here reads."""

    observation_space = Sequence(Discrete(4))


class Unled(Stairs):
    """Actions that no policy here takes."""

    action_space = Dict({"left": Discrete(2)})


for _name, _how in {
    "Stairs-v0": {"entry_point": Stairs, "reward_threshold": 7.0, "max_episode_steps": 10},
    "Told-v0": {"entry_point": Told},
    "Loose-v0": {"entry_point": Loose},
    "Broken-v0": {"entry_point": Broken},
    "Sides-v0": {"entry_point": Sides},
    "Slow-v0": {"entry_point": Slow, "max_episode_steps": 10},
    "Rich-v0": {"entry_point": Rich, "max_episode_steps": 10},
    "Endless-v0": {"entry_point": Endless},
    "Counted-v0": {"entry_point": Counted, "max_episode_steps": 10},
    "Driven-v0": {"entry_point": Driven, "max_episode_steps": 10},
    "Pictures-v0": {"entry_point": Pictures, "max_episode_steps": 10},
    "Chosen-v0": {"entry_point": Chosen, "max_episode_steps": 10},
    "Unread-v0": {"entry_point": Unread},
    "Unled-v0": {"entry_point": Unled},
}.items():
    gymnasium.register(_name, **_how)
