"""How fast control is learned: Burnish against Stable-Baselines3 and sb3-contrib, in environment steps a second.

Both sides learn CartPole-v1 in the same number of independently seeded runs with the same hyperparameters, networks,
optimizer and copies of the environment a run, in the same number of processes with one thread each. The two take turns
in one session; start-up, imports and a warm-up are not counted, everything else is. See README.md beside this file.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata, util
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from control_options import ENV, HIDDEN, OPTIONS, PEERS, Plan, Share, arguments, ours, peer_class, planned, theirs
from rich.console import Console
from rich.table import Table

from burnish.recipes.control.group import RETURNS, RunGroup, play, run_group
from burnish.run import RunFolder, UserError

EPISODES = 1000
NEVER = 10**9  # episodes of a run that is bounded by its steps
UNITS = ("second", "core_second")
FAST = {"ppo": 8.0, "actor_critic": 12.0, "trpo": 8.0}  # the ratios to reach

# One share of the runs, within a process -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Clocked:
    """When a share began and ended on the machine's one clock, its seconds on a core, and the steps learned from."""

    began: float
    ended: float
    cpu: float
    steps: int


def learned(made: int, rollout: int) -> int:
    """Of the steps that a run had made when its last episode ended, those before the rollout that it ended in: neither
    side learns from that one."""
    return (made - 1) // rollout * rollout


def learn_ours(share: Share) -> Clocked:
    """The share's runs in lockstep."""
    torch.set_num_threads(1)
    episodes = NEVER if share.steps else EPISODES
    group = RunGroup(ours(share.name), ENV, {}, HIDDEN, episodes, share.seed, share.first, share.last)
    with tempfile.TemporaryDirectory() as folder:
        path, began, cpu = Path(folder) / "run", time.perf_counter(), time.process_time()
        if share.steps:
            with RunFolder.open(path) as run:
                made = bounded(group, run, share.steps // share.rollout)
        else:
            run_group(group, path, lambda episodes: None)
            last = pd.read_parquet(path / RETURNS).groupby("run").steps.max()
            made = sum(learned(int(steps), share.rollout) for steps in last)
        return Clocked(began, time.perf_counter(), time.process_time() - cpu, made)


def bounded(group: RunGroup, run: RunFolder, rollouts: int) -> int:
    """The group's runs up to a number of rollouts in place of episodes; the steps made."""
    player, _ = play(group, run, through=lambda stream, _: islice(stream, rollouts))
    return int(player.ledger.steps.sum())


def learn_theirs(share: Share) -> Clocked:
    """The share's runs by the peer, one after the other."""
    from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    peer, copies, made = peer_class(share.name), OPTIONS[share.name]["copies"], 0
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(share.first, share.last + 1):
        environments = make_vec_env(ENV, n_envs=copies, seed=share.seed + number * copies)
        model = peer("MlpPolicy", environments, seed=share.seed + number, device="cpu", **theirs(share.name))
        if share.steps:
            model.learn(share.steps, log_interval=None)
            made += model.num_timesteps
        else:
            model.learn(NEVER, StopTrainingOnMaxEpisodes(EPISODES // copies), log_interval=None)
            made += learned(model.num_timesteps, share.rollout)
        environments.close()
    return Clocked(began, time.perf_counter(), time.process_time() - cpu, made)


SIDES: dict[str, Callable[[Share], Clocked]] = {"burnish": learn_ours, "peer": learn_theirs}


# Both sides in turns -------------------------------------------------------------------------------------------------


class Workers:
    """Processes of one side, each of which gets its share and nothing else."""

    def __init__(self, side: str, count: int) -> None:
        self.learn = SIDES[side]
        self.pools = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(count)]

    def rates(self, shares: Sequence[Share]) -> tuple[float, float]:
        """Steps a second of all shares together, from the first that begins to the last that ends; and of a core."""
        tasks = [pool.submit(self.learn, share) for pool, share in zip(self.pools, shares, strict=True)]
        found = [task.result() for task in tasks]
        steps, seconds = sum(f.steps for f in found), max(f.ended for f in found) - min(f.began for f in found)
        return steps / seconds, steps / sum(f.cpu for f in found)

    def close(self) -> None:
        for pool in self.pools:
            pool.shutdown()


Rates = dict[str, list[tuple[float, float]]]


def compare(plan: Plan, told: Callable[[str], None]) -> list[dict[str, Any]]:
    """Both sides in turns, round after round: of each algorithm its rates and their ratio."""
    sides = {side: Workers(side, plan.processes) for side in SIDES}
    rates: dict[str, Rates] = {name: {side: [] for side in SIDES} for name in plan.algorithms}
    try:
        for name in plan.algorithms:
            for workers in sides.values():  # what is imported or set up at the first use is no learning
                workers.rates([Share(name, s.first, s.first, 2 * s.rollout) for s in plan.shares(name)])
        for turn in range(plan.rounds):
            for name in plan.algorithms:
                for side, workers in sides.items():
                    rates[name][side].append(workers.rates(plan.shares(name)))
                    told(f"round {turn + 1}, {name}, {side}: {rates[name][side][-1][0]:,.0f} steps/s")
    finally:
        for workers in sides.values():
            workers.close()
    return [row(name, found) for name, found in rates.items()]


def row(name: str, rates: Rates) -> dict[str, Any]:
    """What control.json says of an algorithm: medians over the rounds, their ratios, and each round's."""
    (burnish, burnish_core), (peer, peer_core) = (
        map(statistics.median, zip(*rates[side], strict=True)) for side in SIDES
    )
    return {
        "algorithm": name,
        "peer": ".".join(PEERS[name]),
        "burnish_steps_per_second": round(burnish, 1),
        "peer_steps_per_second": round(peer, 1),
        "ratio": round(burnish / peer, 2),
        "ratio_of_core_seconds": round(burnish_core / peer_core, 2),
        "reach": FAST[name],
        "rounds": [
            {
                f"{side}_steps_per_{unit}": round(found, 1)
                for side in SIDES
                for unit, found in zip(UNITS, rates[side][turn], strict=True)
            }
            for turn in range(len(rates["peer"]))
        ],
        "burnish_options": ours(name).as_dict(),
        "peer_options": plain(theirs(name)),
    }


def plain(value: Any) -> Any:
    """Arguments as JSON has them: a class by its name."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.__name__ if isinstance(value, type) else value


def machine() -> dict[str, Any]:
    """Where this was measured, and how busy it was at the time."""
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    packages = ("burnish", "torch", "numpy", "gymnasium", "stable_baselines3", "sb3_contrib")
    return {
        "cpu": named[0].partition(": ")[2] if named else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
    }


def table(rows: Sequence[dict[str, Any]], plan: Plan) -> Table:
    length = "1,000 episodes a run" if plan.steps is None else f"{plan.steps:,} steps a run"
    title = f"Learning {ENV}: {plan.runs} runs, {length}, {plan.processes} processes, median of {plan.rounds} rounds"
    made = Table(title=title)
    for heading in ("algorithm", "peer", "Burnish steps/s", "peer steps/s", "ratio", "of core time", "reach"):
        made.add_column(heading, justify="left" if heading in ("algorithm", "peer") else "right", no_wrap=True)
    for r in rows:
        speeds = (f"{r[f'{side}_steps_per_second']:,.0f}" for side in SIDES)
        made.add_row(
            r["algorithm"],
            r["peer"],
            *speeds,
            f"{r['ratio']:.1f} ×",
            f"{r['ratio_of_core_seconds']:.1f} ×",
            f"{r['reach']:.0f} ×",
        )
    return made


def hyperparameters(row: dict[str, Any]) -> str:
    """One line that lists what both sides were given."""
    return f"{row['algorithm']}: " + ", ".join(f"{key} {value}" for key, value in row["burnish_options"].items())


def main(words: Sequence[str]) -> None:
    given, console = arguments(words), Console(width=max(110, Console().width))
    plan = planned(given)
    absent = [module for module in {module for module, _ in PEERS.values()} if util.find_spec(module) is None]
    if absent:
        raise UserError(
            f"{' and '.join(sorted(absent))} not installed: use make bench-control, which sets them up by themselves"
        )
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes, as they start
    where, began = machine(), time.perf_counter()
    rows = compare(plan, lambda line: console.print(line, highlight=False))
    console.print(table(rows, plan), *map(hyperparameters, rows), sep="\n", highlight=False)
    taken = round(time.perf_counter() - began, 1)
    found = {"env": ENV, "hidden": HIDDEN, **asdict(plan), "seconds": taken, "machine": where, "results": rows}
    Path(given.out).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"control.py: {error}")
