"""Small worlds to step in, each with something that goes wrong in the wrong hands."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.spaces import Box, Discrete, Sequence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import TimeLimit


class Drift(gymnasium.Env):
    """A place on a line, pushed by −1, 0 or 1 and by chance; beyond ±2 it is over. The action 2 brings on the fault."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Discrete(4, start=-1)

    def __init__(self, fault: str = "none") -> None:
        self.fault, self.steps, self.resets = fault, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.resets += 1
        if self.fault == "reset" and self.resets == 3:
            raise RuntimeError("the line is cut")
        if self.fault == "first reset":
            raise RuntimeError("there is no line")
        self.place = self.np_random.uniform(-1, 1)
        first = np.array([self.place, 0.0])
        unseen = self.fault == "first observation" or (self.fault == "next observation" and self.resets == 3)
        return (first * np.nan if unseen else first), {}

    def step(self, action: int) -> Any:
        assert self.action_space.contains(action)
        self.steps += 1
        chance = self.np_random.normal() / 2
        self.place += (action if action < 2 else 0) + chance
        observation, reward = np.array([self.place, chance]), float(2 * self.place)
        if action == 2:
            observation, reward = self.go_wrong(observation, reward)
        return observation, reward, bool(abs(self.place) > 2), False, {"place": self.place}

    def go_wrong(self, observation: np.ndarray, reward: float) -> Any:
        if self.fault == "raise":
            raise RuntimeError("the line\n broke")
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "observation":
            observation[1] = np.nan
        if self.fault == "shape":
            observation = np.zeros(3)
        if self.fault in ("reward", "no reward"):
            reward = -np.inf if self.fault == "reward" else None
        if self.fault in ("array", "large"):
            reward = np.array([reward]) if self.fault == "array" else 1e39
        return observation, reward


def drift(fault: str = "none", limit: int = 6) -> gymnasium.Env:
    return TimeLimit(Drift(fault), limit)


class Needy(Drift):
    """Finds out late what it needs."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise gymnasium.error.DependencyNotInstalled("chalk is not installed, buy chalk")


class Pair(Drift):
    """Observations that no policy here reads."""

    observation_space = Sequence(Discrete(2))


class NativeCartPole(CartPoleVectorEnv):
    """A vector of its own under another name, so that it is taken as any other; remembers with what it was seeded."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seeds = [*getattr(self, "seeds", []), seed]
        return super().reset(seed=seed, options=options)


class Pressed(VectorEnv):
    """Two copies, of which the second ends with every step; how they go on, and what they give then, is told."""

    single_observation_space = Box(-1, 1, (1,))
    single_action_space = Discrete(2)

    def __init__(self, mode: AutoresetMode, rewards: Any = (1.0, 2.0)) -> None:
        self.metadata, self.num_envs, self.rewards = {"autoreset_mode": mode}, 2, rewards

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """With a mask, what it gives for those that go on means nothing."""
        begun = np.full((2, 1), -0.5, np.float32)
        if options is not None:
            begun[~options["reset_mask"]] = 77
        return begun, {}

    def step(self, actions: np.ndarray) -> Any:
        return np.full((2, 1), 0.25, np.float32), self.rewards, np.array([False, True]), np.zeros(2, bool), {}
