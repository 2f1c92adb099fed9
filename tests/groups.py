"""Groups of runs of control, trained by the loop as it stands: what the tests of lockstep share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from torch import Tensor

from burnish.batches import PreparedEpisodes, Transitions
from burnish.experience.control.environments import Environments, make_environments
from burnish.experience.control.player import Player
from burnish.experience.control.rollouts import Control
from burnish.experience.control.vector import VectorEnvironments
from burnish.experience.interface import draws
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.policies.interface import Models
from burnish.run import RunFolder
from burnish.training.control.lockstep import LockstepLearner
from burnish.training.control.optimizer import Steps
from burnish.training.control.trust_region import TrustRegionLearner
from burnish.training.loop import train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State

World = Callable[[Sequence[int], int], Environments]


@dataclass(frozen=True)
class Pace:
    """A run that writes no checkpoint and stops for nothing."""

    seed: int = 0
    eval_every: int | None = None
    log_every: int = 10**9
    save_every: int = 0
    patience: int = 0
    keeps_best: bool = False


@dataclass(frozen=True)
class Plan:
    """What a group does: its algorithm, how it plays and descends, for how many episodes, and for how many rollouts."""

    algorithm: Any
    control: Control
    steps: Steps
    episodes: int = 10**9
    rollouts: int | None = None
    hidden: tuple[int, ...] = (8,)
    dtype: torch.dtype = torch.float64


@dataclass
class Trained:
    player: Player
    state: State

    def weights(self, run: int) -> dict[str, Tensor]:
        """Of a run by its number, whether it is over or not."""
        if run in self.player.retired:
            return self.player.retired[run]
        place = self.player.ledger.names.tolist().index(run)
        models: dict[str, Any] = dict(self.player.models.trained())
        return {f"{part}/{name}": x[place] for part, model in models.items() for name, x in model.named().items()}

    def finished(self, run: int) -> list[tuple[int, float, int, int]]:
        every = self.player.ledger.finished
        return [(e.episode, e.return_, e.length, e.steps) for e in every if e.run == run]


def models_for(world: Environments, seeds: Sequence[int], plan: Plan) -> Models:
    network: dict[str, Any] = {"hidden": plan.hidden, "dtype": plan.dtype}
    network |= {"image": world.image}
    kind: dict[str, Any] = {"continuous": world.continuous, "choices": world.choices}
    policy = ControlPolicy(world.observations, world.actions, seeds, **kind, **network)
    models = Models(policy=policy)
    if "critic" not in plan.algorithm.roles:
        return models
    return models.having(critic=ControlCritic(world.observations, seeds, **network))


def learner_for(
    models: Models, seeds: Sequence[int], plan: Plan, failed: dict[int, str] | None = None
) -> LockstepLearner | TrustRegionLearner:
    learner = TrustRegionLearner if plan.algorithm.region() else LockstepLearner
    return learner(plan.algorithm, models, plan.steps, seeds, failed={} if failed is None else failed)


def train(plan: Plan, world: World, seeds: Sequence[int], folder: Path) -> Trained:
    """Train one run for each of `seeds` as one group."""
    environments = world(seeds, plan.control.copies)
    models = models_for(environments, seeds, plan)
    player = Player(models, plan.control, environments, seeds, plan.episodes)
    with RunFolder.open(folder) as run, Progress("group", 1, quiet=True) as progress:
        state = train_loop(
            models,
            islice(draws(plan.control, player), plan.rollouts),
            learner=learner_for(models, seeds, plan, player.failed),
            settings=Pace(),
            steps=math.inf,
            run=run,
            state=State(),
            evaluator=None,
            progress=progress,
        )
    return Trained(player, state)


# Parts of batches ---------------------------------------------------------------------------------------------------


def of_runs(batch: Any, places: Sequence[int]) -> Any:
    """The rows of the runs at these places."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch) if f.name != "rows"}
    chosen = {
        name: of_runs(value, places) if isinstance(value, Transitions) else value[list(places)]
        for name, value in values.items()
        if value is not None
    }
    return replace(batch, **chosen)


def only(batch: PreparedEpisodes, run: int) -> PreparedEpisodes:
    """The rows of one run, as if it were alone."""
    own = of_runs(batch, [run])
    return replace(own, batch=replace(own.batch, runs=torch.tensor([0])))


def real_steps(part: PreparedEpisodes, run: int) -> PreparedEpisodes:
    """Of single steps, those of one run that are real, as if it were alone."""
    own, where = only(part, run), part.mask[run, 0]

    def cut(batch: Any) -> dict[str, Tensor]:
        values = {f.name: getattr(batch, f.name) for f in fields(batch)}
        return {name: x[:, :, where] for name, x in values.items() if isinstance(x, Tensor) and x.dim() > 2}

    return replace(own, batch=replace(own.batch, **cut(own.batch), lengths=where.sum()[None, None]), **cut(own))


# Worlds ------------------------------------------------------------------------------------------------------------


def cartpoles(seeds: Sequence[int], copies: int) -> Environments:
    """All runs in one native vector."""
    return make_environments("CartPole-v1", seeds, copies, max_episode_steps=20)


def pendulums(seeds: Sequence[int], copies: int) -> Environments:
    """Real actions; each run a vector that steps copies in turn."""
    return make_environments("Pendulum-v1", seeds, copies, max_episode_steps=10)


def late_cartpoles(seeds: Sequence[int], copies: int) -> Environments:
    """Each run a native vector that begins an episode on the step after the last one's end, which is no experience."""
    return VectorEnvironments([CartPoleVectorEnv(copies, max_episode_steps=20) for _ in seeds], seeds)


def uneven_cartpoles(seeds: Sequence[int], copies: int) -> Environments:
    """Poles too short-lived to fall, 4, 6 or 8 steps by the run's seed: it is written who is over first."""

    def make(limit: int) -> VectorEnv:
        poles = [lambda: TimeLimit(CartPoleEnv(), limit)] * copies
        return SyncVectorEnv(poles, autoreset_mode=AutoresetMode.DISABLED)

    return VectorEnvironments([make(4 + 2 * (seed % 3)) for seed in seeds], seeds)


class Brittle(CartPoleEnv):
    """A pole that breaks on its `breaks`th step."""

    def __init__(self, breaks: int | None) -> None:
        super().__init__()
        self.breaks, self.made = breaks, 0

    def step(self, action: int) -> Any:
        self.made += 1
        if self.made == self.breaks:
            raise RuntimeError("the pole broke")
        return super().step(action)


def brittle(breaks: Sequence[int | None]) -> World:
    """A world whose runs break as told, one number a run."""

    def world(seeds: Sequence[int], copies: int) -> Environments:
        envs = [
            SyncVectorEnv([lambda at=at: Brittle(at)] * copies, autoreset_mode=AutoresetMode.DISABLED) for at in breaks
        ]
        return VectorEnvironments(envs, seeds)

    return world
