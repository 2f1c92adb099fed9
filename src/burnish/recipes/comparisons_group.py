"""One group of runs that learn from comparisons, or from the true reward: what a process of the study does."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import pandas as pd
from gymnasium.spaces import Box

from burnish.experience.control import Player, episodes_of_control
from burnish.experience.environments import make_environments
from burnish.experience.fixed_cartpole import FIXED_CARTPOLE as FIXED_CARTPOLE  # importing it registers it
from burnish.experience.teacher import Actions, Comparisons, Teacher, compared
from burnish.policies.control import ControlCritic, ControlPolicy
from burnish.policies.interface import Models
from burnish.recipes.classic_group import FINISHED, LOGGED, RETURNS, Group, Pace, ended
from burnish.run import RunFolder, write_atomically
from burnish.training.lockstep import LockstepLearner
from burnish.training.loop import train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State


@dataclass(frozen=True)
class Variant:
    """One way to be paid; without comparisons by the environment."""

    name: str
    label: str
    comparisons: Comparisons | None

    @property
    def labels(self) -> int:
        return self.comparisons.labels if self.comparisons else 0

    def as_dict(self) -> dict[str, Any]:
        """Its knobs as plain data."""
        if self.comparisons is None:
            return {"reward": "true"}
        knobs = asdict(self.comparisons)
        predictor = knobs.pop("predictor")
        return knobs | predictor | {"hidden": ",".join(map(str, predictor["hidden"]))}


@dataclass(frozen=True)
class VariantGroup(Group):
    """Runs `first` … `last` of one variant, in lockstep. Its `method` is PPO and goes by the variant's label."""

    variant: Variant

    @property
    def name(self) -> str:
        return f"{self.variant.name}-{self.first:02d}-{self.last:02d}"

    def as_dict(self) -> dict[str, Any]:
        own = {key: value for key, value in vars(self).items() if key not in ("variant", "method")}
        own |= {"hidden": ",".join(map(str, self.hidden)), "env_options": dict(self.env_options)}
        return own | {"variant": self.variant.name, "comparisons": self.variant.as_dict(), "ppo": self.method.as_dict()}


def run_variant(group: VariantGroup, folder: Path, told: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Train the group's runs to the end and write down their episodes; what `group.json` says.

    `told` hears now and then how many of the group's episodes have ended.
    """
    began = time.perf_counter()
    with RunFolder.open(folder) as run:
        run.claim(group.as_dict())
        player, teacher = learn(group, run, told)
        table = [asdict(episode) for episode in player.ledger.finished if episode.run not in player.failed]
        frame = pd.DataFrame(table, columns=["run", "episode", "return_", "length", "steps"])
        frame = frame.rename(columns={"return_": "return"}).sort_values(["run", "episode"])
        frame = frame.assign(run=frame.run + group.first)
        frame.insert(0, "variant", group.variant.name)
        frame.insert(1, "labels", group.variant.labels)
        frame.to_parquet(run.path / RETURNS, index=False)
        measured = teacher.measured if teacher else {}
        found = {
            "seconds": round(time.perf_counter() - began, 3),
            "failed": by_number(player.failed, group.first),
            "measured": by_number(measured, group.first),
        }
        write_atomically(run.path / FINISHED, json.dumps(found) + "\n")  # last: it says that the group is finished
    return found


def by_number(found: Mapping[int, Any], first: int) -> dict[str, Any]:
    """What is known by a run's place in its group, by its number."""
    return {str(place + first): value for place, value in sorted(found.items())}


def learn(group: VariantGroup, run: RunFolder, told: Callable[[int], None] | None) -> tuple[Player, Teacher | None]:
    """The group's runs through the loop, until each has had its episodes."""
    method, seeds = group.method, group.seeds
    environments = make_environments(group.env, seeds, method.control.copies, **group.env_options)
    size = environments.observations
    policy = ControlPolicy(size, environments.actions, seeds, continuous=environments.continuous, hidden=group.hidden)
    models = Models(policy, critic=ControlCritic(size, seeds, hidden=group.hidden))
    player = Player(models, method.control, environments, seeds, group.episodes)
    heard = (lambda ledger: told(ended(ledger, player, group.episodes))) if told else None
    stream = episodes_of_control(player, heard)
    knobs, teacher = group.variant.comparisons, None
    if knobs is not None:
        teacher = Teacher(knobs, actions_of(group.env), seeds)
        stream = compared(stream, teacher)
    with Progress(group.name, 1, quiet=True) as progress:
        train_loop(
            method.algorithm,
            models,
            stream,
            learner=LockstepLearner(method.algorithm, models, method.steps, seeds),
            settings=Pace(group.seed),
            steps=float("inf"),
            run=run,
            state=State(),
            evaluator=None,
            progress=progress,
            log_every=LOGGED,
        )
    environments.close()
    return player, teacher


def actions_of(env: str) -> Actions:
    """How a predictor sees the actions of this environment."""
    made = gymnasium.make(env)
    space = made.action_space
    made.close()
    return Actions(0, space.low, space.high) if isinstance(space, Box) else Actions(int(space.n))  # type: ignore[attr-defined]
