"""One group of runs in lockstep, from settings to folder, in one process of `burnish classic`."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from burnish.batches import Drawn
from burnish.experience.control.environments import Environments, make_environments
from burnish.experience.control.exploring import Exploration
from burnish.experience.control.made import Wrappers
from burnish.experience.control.player import Ledger, Player
from burnish.experience.control.saved import Saved, save_policies
from burnish.experience.control.spaces import RESCALED_OBSERVATIONS
from burnish.experience.interface import draws
from burnish.recipes.control.longer import FINISHED, Earlier, continued, keep_records
from burnish.recipes.control.models import learner_of, models_of, network_of
from burnish.recipes.control.settings import Method
from burnish.recipes.control.tracking import followed
from burnish.run import RunFolder, write_atomically
from burnish.training.loop import interruptible, train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State

RETURNS = "returns.parquet"
LOGGED = 20
LATEST = 100
"""Episodes of training whose mean return tells how good a policy is."""
SEEDS_APART = 1_000_003


@dataclass(frozen=True)
class RunGroup:
    """Runs `first` … `last` of one method; with `earlier`, as they go on from where they ended before."""

    method: Method
    env: str
    env_options: Mapping[str, Any]
    hidden: tuple[int, ...]
    episodes: int | None
    seed: int
    first: int
    last: int
    wrappers: Wrappers = field(default=(), kw_only=True)
    steps: int | None = field(default=None, kw_only=True)
    track: str | None = field(default=None, kw_only=True)
    quiet: bool = field(default=False, kw_only=True)
    earlier: Earlier | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        return f"{self.method.name}-{self.first:02d}-{self.last:02d}"

    @property
    def seeds(self) -> list[int]:
        return [self.seed * SEEDS_APART + run for run in range(self.first, self.last + 1)]

    @property
    def length(self) -> int:
        """How many episodes, or else environment steps, a run has: what progress is counted in."""
        return self.episodes or self.steps or 0

    def as_dict(self) -> dict[str, Any]:
        """What the group computes, as plain data."""
        beside = ("method", "track", "quiet", "earlier", "wrappers")
        own = {key: value for key, value in vars(self).items() if key not in beside}
        own |= {"wrappers": list(self.wrappers)} if self.wrappers else {}
        hidden = ",".join(map(str, self.hidden))
        return own | {"algorithm": self.method.name, "env_options": dict(self.env_options), "hidden": hidden}

    def alone(self) -> dict[int, tuple[str, dict[str, Any]]]:
        """The name and the configuration of each run by its number, as if it were alone."""
        common = {key: value for key, value in self.as_dict().items() if key not in ("first", "last", "seed")}
        common |= self.method.as_dict()
        stem = self.name.removesuffix(f"-{self.first:02d}-{self.last:02d}")
        numbers = range(self.first, self.last + 1)
        return {
            run: (f"{stem}-{run:02d}", common | {"run": run, "seed": seed})
            for run, seed in zip(numbers, self.seeds, strict=True)
        }


@dataclass(frozen=True)
class Pace:
    """The loop's settings: no evaluation, and no checkpoints, because environments cannot be saved."""

    seed: int
    eval_every: int | None = None
    log_every: int = LOGGED
    save_every: int = 0
    patience: int = 0
    keeps_best: bool = False


Through = Callable[[Iterator[Drawn], Player], Iterator[Drawn]]
"""What rollouts go through before the runs learn from them, with the player that makes them."""


def as_drawn(stream: Iterator[Drawn], player: Player) -> Iterator[Drawn]:
    """The rollouts as they are."""
    return stream


def run_group(
    group: RunGroup, folder: Path, progress: Callable[[int], None], through: Through = as_drawn
) -> dict[str, Any]:
    """Train the group's runs to the end and write their episodes and weights; returns the content of `group.json`.

    `progress` is called now and then with the number of the group's episodes that have ended, or of its environment
    steps. Rollouts go `through` a function first. The returns of every run that ended normally are written, even if
    other runs failed.
    """
    began = time.perf_counter()
    with RunFolder.open(folder) as run:
        run.claim(group.as_dict())
        if group.earlier is not None:
            keep_records(group.earlier, run)  # before a tracker listens, which has them
        player, updates = play(group, run, progress, through)
        finished = pd.DataFrame([asdict(episode) for episode in player.ledger.finished])
        frame = pd.DataFrame(columns=["run", "episode", "return_", "length", "steps"]) if finished.empty else finished
        frame = frame.rename(columns={"return_": "return"})
        frame.insert(0, "algorithm", group.method.name)
        if group.earlier is not None:
            frame = pd.concat([pd.read_parquet(group.earlier.folder / RETURNS), frame], ignore_index=True)
        frame = frame[~frame.run.isin(list(player.failed))].sort_values(["run", "episode"])
        write_atomically(run.path / RETURNS, frame.to_parquet(index=False))
        keep_policies(group, player, frame, run.path)
        failed = {str(number): reason for number, reason in sorted(player.failed.items())}
        seconds = time.perf_counter() - began + (group.earlier.seconds if group.earlier else 0.0)
        found = {"seconds": round(seconds, 3), "failed": failed}
        found |= {"updates": {str(number): count for number, count in updates.items()}}
        found |= {"caution": caution_of(group.method, player.caution)}
        found |= {"went_on_after": list(group.earlier.parts)} if group.earlier else {}
        write_atomically(run.path / FINISHED, json.dumps(found) + "\n")  # last: it says that the group is finished
    return found


def play(
    group: RunGroup,
    run: RunFolder,
    progress: Callable[[int], None] | None = None,
    through: Through = as_drawn,
) -> tuple[Player, dict[int, int]]:
    """The group's runs through the loop, until each has had its episodes or steps; rollouts go `through` a function
    first. Also returns the number of updates of each run."""
    torch.set_num_threads(1)  # groups are spread over the cores: more threads would only wait for each other
    method, algorithm = group.method, group.method.algorithm
    seeds = group.seeds if group.earlier is None else group.earlier.seeds(group.seeds)
    environments = make_environments(
        group.env, seeds, method.control.copies, group.wrappers, algorithm.head == "squashed", **group.env_options
    )
    models = models_of(algorithm, network_of(environments, group.hidden, algorithm), seeds)
    episodes = group.episodes or sys.maxsize
    player = Player(models, method.control, environments, seeds, episodes, group.first, budget=group.steps)
    player.exploration = exploration_of(method, environments, seeds)
    if algorithm.replays:
        player.buffer = method.control.buffer(seeds, models.policy.theta, group.steps)
    learner = learner_of(algorithm)(algorithm, models, method.steps, seeds, group.first, failed=player.failed)
    player.beside = learner.named
    state = State() if group.earlier is None else continued(group.earlier, models, player, learner)
    with (
        interruptible() as player.interrupted,
        followed(run, group.track, group.alone(), learner, player.ledger, group.quiet) as episodes_ended,
        Progress(group.name, 1, quiet=True) as bar,
    ):

        def report(ledger: Ledger) -> None:
            episodes_ended()
            if progress is not None:
                progress(ended(ledger, player, group))

        player.report = report
        train_loop(
            models,
            through(draws(method.control, player), player),
            learner=learner,
            settings=Pace(group.seed),
            steps=float("inf"),
            run=run,
            state=state,
            evaluator=None,
            progress=bar,
            first_row=True,
        )
    environments.close()
    return player, learner.updates


def ended(ledger: Ledger, player: Player, group: RunGroup) -> int:
    """The number of episodes, or else steps, that need no more work: those behind, and all of the runs that left."""
    behind = ledger.ended if group.episodes else np.minimum(ledger.steps, group.length)
    return int(behind.sum()) + len(player.retired) * group.length


def exploration_of(method: Method, environments: Environments, seeds: Sequence[int]) -> Exploration | None:
    """The actions that the policy does not choose; None where it chooses all."""
    algorithm, control = method.algorithm, method.control
    if algorithm.head == "distribution":
        return None
    return Exploration(algorithm.explores, environments, seeds, control.copies, control.learning_starts)


def caution_of(method: Method, problem: str | None) -> str | None:
    """What is wrong with observations, and what helps the method; None where nothing is."""
    if problem is None:
        return None
    own = "set normalise_observations, or " if "normalise_observations" in method.as_dict() else ""
    return (
        f"{problem}: {own}scale them in the environment, or, where they have bounds, with --wrapper "
        f"'{RESCALED_OBSERVATIONS}'"
    )


def keep_policies(group: RunGroup, player: Player, frame: pd.DataFrame, folder: Path) -> None:
    """Save the policies of the runs that did not fail, with what training goes on from."""
    finished = {number: weights for number, weights in sorted(player.retired.items()) if number not in player.failed}
    if not finished:
        return
    facts = {}
    for number in finished:
        episodes = frame[frame.run == number]
        latest = float(episodes["return"].tail(LATEST).mean()) if len(episodes) else math.nan
        spent = group.steps is not None and len(episodes) < (group.episodes or sys.maxsize)
        facts[number] = {
            "seed": group.seeds[number - group.first],
            "episodes": len(episodes),
            "steps": group.steps if spent else int(episodes.steps.max()),
            "return": latest if math.isfinite(latest) else None,
        }
    observations, actions = player.environments.spaces
    saved = Saved(
        algorithm=group.method.name,
        hyperparameters=group.method.as_dict(),
        environment={"id": group.env, "options": dict(group.env_options), "wrappers": list(group.wrappers)},
        observation_space=observations,
        action_space=actions,
        network=network_of(player.environments, group.hidden, group.method.algorithm),
        clip=None if player.seen is None else player.seen.clip,
        runs=facts,
    )
    save_policies(folder, saved, finished, {number: player.kept[number] for number in finished})
