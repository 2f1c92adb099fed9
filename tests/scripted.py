"""A world of control that plays what is written, and players in it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from burnish.batches import Drawn
from burnish.experience.control.player import Ledger, Player
from burnish.experience.control.vector import Transition
from burnish.experience.interface import draws
from burnish.policies.control.policy import ControlPolicy
from burnish.policies.interface import Models

Act = tuple[list[float], bool]
"""The rewards of an episode's steps, and whether it terminates in the end or is cut."""


class Scripted:
    """Plays what is written for each run and copy, one episode after the other, whatever the actions.

    An observation tells the run and copy (10·run + copy), the episode, and the step in it. `late` worlds begin an
    episode on a step of its own. In `whole` worlds, what is written is played episode for episode at `reset`, and in
    between comes what must not count. `breaks` tells at which step a run's world breaks.
    """

    spaces = (Box(-np.inf, np.inf, (3,), np.float64), Discrete(2))
    observations, actions, continuous = 3, 2, False
    choices: tuple[int, ...] = ()
    image = None

    def __init__(
        self,
        script: list[list[list[Act]]],
        late: bool = False,
        whole: bool = False,
        breaks: dict[int, int] | None = None,
    ) -> None:
        self.script, self.late, self.whole, self.breaks = script, late, whole, breaks or {}
        self.names, shape = list(range(len(script))), (len(script), len(script[0]))
        self.episode, self.at = np.full(shape, -1), np.zeros(shape, dtype=int)
        self.pending, self.between = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.made, self.closed = dict.fromkeys(self.names, 0), False

    def act(self, r: int, e: int) -> Act:
        return ([1e6], True) if self.between[r, e] else self.script[self.names[r]][e][self.episode[r, e]]

    def shown(self) -> np.ndarray:
        place = 10 * np.array(self.names)[:, None] + np.arange(self.at.shape[1])
        return np.stack([place, self.episode, self.at], -1).astype(np.float32)

    def start(self, r: int, e: int) -> None:
        self.episode[r, e] += not self.whole
        self.between[r, e], self.pending[r, e], self.at[r, e] = self.whole, False, 0

    def reset(self) -> np.ndarray:
        self.episode += 1
        self.at[:], self.pending[:], self.between[:] = 0, False, False
        return self.shown()

    def begin(self) -> np.ndarray:
        return self.reset()

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Transition:
        assert actions.shape == self.at.shape
        shape, failed, before = self.at.shape, {}, self.shown()
        rewards, terminated, truncated = np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        real, reached = np.zeros(shape, dtype=bool), before.copy()
        for r in np.flatnonzero(stepping.reshape(len(stepping), -1).any(1)).tolist():
            self.made[self.names[r]] += 1
            if self.breaks.get(self.names[r]) == self.made[self.names[r]]:
                failed[r] = "it broke"
                continue
            for e in range(shape[1]):
                if self.pending[r, e]:
                    self.start(r, e)
                    reached[r, e] = self.shown()[r, e]
                    continue
                (earned, ends), real[r, e] = self.act(r, e), True
                rewards[r, e] = earned[self.at[r, e]]
                self.at[r, e] += 1
                reached[r, e] = self.shown()[r, e]
                if self.at[r, e] == len(earned):
                    (terminated if ends else truncated)[r, e] = True
                    self.pending[r, e] = self.late
                    if not self.late:
                        self.start(r, e)
        return Transition(reached, self.shown(), rewards, terminated, truncated, real, failed)

    def keep(self, index: Iterable[int]) -> None:
        chosen = list(index)
        self.names = [self.names[i] for i in chosen]
        for name in ("episode", "at", "pending", "between"):
            setattr(self, name, getattr(self, name)[chosen])

    def close(self) -> None:
        self.closed = True


class Continuous(Scripted):
    continuous = True

    def step(self, actions: np.ndarray, stepping: np.ndarray) -> Transition:
        assert actions.shape == (*self.at.shape, 2)
        return super().step(actions[..., 0], stepping)


class Listening(ControlPolicy):
    """Remembers what it saw and the noise it was given."""

    def act(self, observations: Tensor, noise: Tensor) -> Any:
        self.saw, self.heard = getattr(self, "saw", []), getattr(self, "heard", [])
        self.saw.append(observations.clone())
        self.heard.append(noise.clone())
        return super().act(observations, noise)


def player_of(
    world: Scripted, control: Any, episodes: int = 10**9, dtype: torch.dtype = torch.float32, first: int = 0
) -> Player:
    seeds = [20 + name for name in world.names]
    policy = Listening(3, 2, seeds, continuous=world.continuous, hidden=(2,), dtype=dtype)
    return Player(Models(policy=policy), control, world, seeds, episodes, first)


def heard(player: Player) -> Tensor:
    """All the noise so far, `[t, R, E, …]`."""
    policy: Any = player.models.policy
    return torch.stack(policy.heard)


def long(*lengths: int, reward: float = 1.0, ends: bool = True) -> list[Act]:
    return [([reward] * length, ends) for length in lengths]


def random_script(rng: np.random.Generator, runs: int, copies: int, count: int, longest: int) -> list[list[list[Act]]]:
    def act() -> Act:
        return rng.normal(size=rng.integers(1, longest + 1)).tolist(), bool(rng.random() < 0.5)

    return [[[act() for _ in range(count)] for _ in range(copies)] for _ in range(runs)]


def finished(ledger: Ledger, run: int) -> list[tuple[int, float, int, int]]:
    return [(e.episode, e.return_, e.length, e.steps) for e in ledger.finished if e.run == run]


def played(player: Player) -> list[Drawn]:
    """All rollouts of a player's runs."""
    return list(draws(player.knobs, player))
