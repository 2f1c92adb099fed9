"""Trainings in environments: an algorithm alone, PPO on late rollouts, and the weights between its policies."""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from burnish.batches import Drawn, Transitions
from burnish.evaluation.importance import prefix_log_weights, spread
from burnish.experience.control.behind import Behind
from burnish.experience.control.environments import make_environments
from burnish.experience.control.player import Player
from burnish.experience.control.rollouts import Control, transitions, who
from burnish.policies.interface import Models
from burnish.recipes.control.group import RETURNS, RunGroup, Through, as_drawn, run_group
from burnish.recipes.control.presets import PRESETS
from burnish.recipes.control.settings import Method, method
from burnish.recipes.study.cell import Found
from burnish.recipes.study.onoff.plan import CARTPOLE, HIGH, Plan

SEED, MEASURING_SEED = 5, 77
"""Of trainings, which no hyperparameter was chosen on, and of the episodes that weights are measured on."""
MARKS = 200
"""Points of a run's clock."""
TAIL = 0.2
"""The share of a run's environment steps at its end whose episodes its final return is the mean of."""


def method_of(task: str, name: str) -> Method:
    """An algorithm with the hyperparameters that `burnish classic` has for an environment."""
    return method(name, PRESETS[task][name])


def group_of(plan: Plan, task: str, name: str, run: int, steps: int, **options: Any) -> RunGroup:
    """One run, alone, of so many environment steps."""
    return RunGroup(method_of(task, name), task, options, plan.hidden, None, SEED, run, run, steps=steps)


def efficiency(plan: Plan, task: str, name: str, run: int, work: Path) -> Found:
    """Train, and write down when episodes ended, in environment steps, what they returned, and the run's clock."""
    return trained(group_of(plan, task, name, run, plan.steps[task]), work)


def late(plan: Plan, run: int, lag: int, correction: str, work: Path) -> Found:
    """Train PPO on rollouts of `lag` turns before."""
    group = group_of(plan, CARTPOLE, "ppo", run, plan.late_steps, max_episode_steps=plan.longest)
    found = trained(group, work, Behind(lag, correction, HIGH))  # type: ignore[arg-type]
    return {key: found[key] for key in ("value", "failed", "seconds")}


def trained(group: RunGroup, work: Path, through: Through = as_drawn) -> Found:
    """What is found of a training; one that failed has `failed`, the reason, and no `value`."""
    clock = Clock(group.length)
    told = run_group(group, work / "run", clock.at, through)
    failed = told["failed"].get(str(group.first))
    frame = pd.read_parquet(work / "run" / RETURNS).sort_values("steps", kind="stable")
    ends, returns = frame.steps.to_numpy(int), frame["return"].to_numpy(float)
    return {
        "value": None if failed is not None or not len(ends) else final(ends, returns, group.length),
        "failed": failed if len(ends) or failed is not None else "no episode ended",
        "ends": ends.tolist(),
        "returns": np.round(returns, 4).tolist(),
        "clock": clock.marks,
        "seconds": clock.seconds(),
    }


def final(ends: np.ndarray, returns: np.ndarray, steps: int) -> float:
    """The mean return of the episodes that ended in the last share `TAIL` of so many steps, or of the last episode."""
    last = ends > (1 - TAIL) * steps
    return float(returns[last].mean() if last.any() else returns[-1])


@dataclass
class Clock:
    """CPU seconds and wall seconds at `MARKS` numbers of environment steps on the way to `steps`."""

    steps: int
    marks: list[list[float]] = field(default_factory=list)
    began: tuple[float, float] = field(default_factory=lambda: (time.process_time(), time.perf_counter()))

    def at(self, steps: int) -> None:
        """Called when so many steps were made."""
        last = self.marks[-1][0] if self.marks else 0.0
        if steps - last >= self.steps / MARKS or (steps >= self.steps > last):
            self.marks.append([steps, self.seconds(), round(time.perf_counter() - self.began[1], 4)])

    def seconds(self) -> float:
        return round(time.process_time() - self.began[0], 4)


def weights(plan: Plan, run: int, work: Path) -> Found:
    """Train PPO as `late` does without a lag, and measure the weights between its policies on the way."""
    group = group_of(plan, CARTPOLE, "ppo", run, plan.late_steps, max_episode_steps=plan.longest)
    watch = Watch(plan.anchors, plan.lags, plan.counts_of(CARTPOLE), Episodes(group, plan.episodes).drawn)
    run_group(group, work / "run", lambda steps: None, watch.beside)
    return {"rows": watch.rows}


@dataclass(frozen=True)
class Episodes:
    """Draws `count` whole episodes with a policy, in environments and with noise of their own."""

    group: RunGroup
    count: int

    def drawn(self, policy: Any, turn: int) -> Transitions:
        """The episodes of the policy as it is, a row each."""
        group, knobs = self.group, Control(copies=self.count, rollout=None)
        seeds = [(MEASURING_SEED << 32) + 1000 * turn + group.first]
        environments = make_environments(group.env, seeds, self.count, group.wrappers, **group.env_options)
        player = Player(Models(policy=deepcopy(policy)), knobs, environments, seeds, episodes=self.count)
        columns, _ = player.play()
        environments.close()
        return transitions(columns, knobs.gamma, *who(player))


@dataclass
class Watch:
    """Weighs episodes of the policies at the `anchors`, by the policies `lags` turns later.

    `draw` gives the episodes of a policy at the beginning of a turn: a batch that policies have log-probabilities of.
    """

    anchors: tuple[int, ...]
    lags: tuple[int, ...]
    counts: tuple[int, ...]
    draw: Callable[[Any, int], Any]
    rows: list[Found] = field(default_factory=list)
    held: dict[int, tuple[Any, Tensor]] = field(default_factory=dict)

    def beside(self, stream: Iterator[Drawn], player: Player) -> Iterator[Drawn]:
        """The rollouts as they are; each turn's policy is looked at before its rollout is made."""
        turn = 0
        while True:
            self.look(player.models.policy, turn)
            if (drawn := next(stream, None)) is None:
                return
            yield drawn
            turn += 1

    @torch.no_grad()
    def look(self, policy: Any, turn: int) -> None:
        """Called with the policy at the beginning of each turn."""
        if turn in self.anchors:
            batch = self.draw(policy, turn)
            self.held[turn] = batch, policy.logprobs(batch)
        for anchor in [one for one in self.held if turn - one in self.lags]:
            batch, old = self.held[anchor]
            width = old.shape[-1]
            new, mask = policy.logprobs(batch).view(-1, width), batch.mask.view(-1, width)
            logs = prefix_log_weights(new, old.view(-1, width), mask, self.counts)
            length = mask.sum(-1).double().mean().item()
            own = {"anchor": anchor, "lag": turn - anchor, "length": length}
            self.rows += [own | {"count": c} | spread(one) for c, one in zip(self.counts, logs, strict=True)]
            if turn - anchor == max(self.lags):
                del self.held[anchor]
