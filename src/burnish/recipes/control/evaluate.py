"""`burnish evaluate` of a folder of `burnish classic`: what its trained policies earn in new episodes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.evaluation.statistics import interval_of_mean
from burnish.experience.control.environments import make_environments, time_limit
from burnish.experience.control.replay import replay
from burnish.experience.control.trained import load_policies
from burnish.recipes.control.load import policy_folders, refuse_other
from burnish.run import UserError, hushed, write_atomically

EPISODES = 100
APART = 96
"""Bits between these seeds and those of training, which are smaller."""
KINDS = {"deterministic": True, "sampled": False}


def evaluate_control(
    folder: Path,
    episodes: int | None = None,
    env_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Play `episodes` (100) with every trained policy, and write what they return to `evaluation.json`.

    Every policy plays the same number of new episodes twice: with its likeliest actions, and with sampled ones. Run i's
    episodes are seeded with `seed` and i, for all algorithms alike. Intervals are 95 %: of a run's mean over its
    episodes, and of the mean over runs, whose unit is the run; one episode or one run has none, `low` and `high` None.
    """
    algorithms: dict[str, list[dict[str, Any]]] = {}
    episodes = EPISODES if episodes is None else episodes
    folders = policy_folders(folder)
    environment = next(iter(folders.values())).environment
    options = {**environment["options"], **(env_options or {})}
    with hushed(quiet):
        limited = time_limit(environment["id"], options) is not None
        for path, saved in folders.items():
            policies = load_policies(path)
            seeds = [number + ((1 + seed) << APART) for number in policies.numbers]
            found: dict[str, np.ndarray] = {}
            for kind, deterministic in KINDS.items():
                scaled = saved.network.head == "squashed"
                made = make_environments(environment["id"], seeds, episodes, environment["wrappers"], scaled, **options)
                if made.spaces != (saved.observation_space, saved.action_space):
                    raise UserError(
                        f"{environment['id']} has other spaces than the policies of {path} learned with: "
                        "restore the environment, or train again"
                    )
                found[kind] = replay(policies, made, seeds, deterministic, limited).returns
                made.close()
            for at, number in enumerate(policies.numbers):
                own = {kind: interval_of_mean(returns[at]) for kind, returns in found.items()}
                algorithms.setdefault(saved.algorithm, []).append(
                    {"run": number, "seed": saved.runs[number]["seed"]} | own
                )
    result = {
        "run": str(folder),
        "env": environment["id"],
        "env_options": options,
        "episodes": episodes,
        "seed": seed,
        "algorithms": {name: over_runs(runs) for name, runs in algorithms.items()},
    }
    write_atomically(folder / "evaluation.json", json.dumps(result, indent=2, default=str) + "\n")
    return result


def evaluated(folder: Path, own: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """`burnish.evaluate` of control. Of `others` only seed and quiet are allowed."""
    shared = {name: others[name] for name in ("seed", "quiet") if name in others}
    refuse_other({name: value for name, value in others.items() if name not in shared}, control=True)
    return evaluate_control(folder, **own, **shared)


def over_runs(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over runs of their mean returns, with its interval, and each run."""
    runs = sorted(runs, key=lambda run: run["run"])
    return {kind: interval_of_mean([run[kind]["mean"] for run in runs]) for kind in KINDS} | {"runs": runs}
