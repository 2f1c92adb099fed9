"""What bench/control.py compares: hyperparameters in Burnish's words, how the peers call them, and how much of it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch

from burnish.recipes.control.settings import Method, method
from burnish.run import UserError

# The hyperparameters ------------------------------------------------------------------------------------------------

ENV, HIDDEN = "CartPole-v1", (64, 64)

PEERS = {
    "ppo": ("stable_baselines3", "PPO"),
    "actor_critic": ("stable_baselines3", "A2C"),
    "trpo": ("sb3_contrib", "TRPO"),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "ppo": {
        "copies": 8,
        "rollout": 32,
        "batch_size": 256,
        "update_epochs": 20,
        "gamma": 0.98,
        "lambda_": 0.8,
        "learning_rate": 1e-3,
        "clip": 0.2,
        "value_clip": None,
        "value_weight": 1.0,
        "entropy_weight": 0.0,
        "standardise_advantages": True,
        "max_grad_norm": 0.5,
        "adam_eps": 1e-5,
    },
    "actor_critic": {
        "copies": 8,
        "rollout": 5,
        "gamma": 0.99,
        "lambda_": 1.0,
        "learning_rate": 7e-4,
        "value_weight": 1.0,
        "entropy_weight": 0.0,
        "standardise_advantages": False,
        "max_grad_norm": 0.5,
        "adam_eps": 1e-5,
    },
    "trpo": {
        "copies": 2,
        "rollout": 512,
        "batch_size": 512,
        "update_epochs": 20,
        "gamma": 0.99,
        "lambda_": 0.98,
        "learning_rate": 1e-3,
        "max_kl": 0.01,
        "cg_iterations": 15,
        "damping": 1e-3,
        "shrink": 0.8,
        "search_steps": 10,
        "standardise_advantages": True,
        "max_grad_norm": 0.0,
        "adam_eps": 1e-5,
    },
}
"""RL-Zoo's hyperparameters for CartPole-v1 in Burnish's words; learning rate and clip stay what they begin at, and
every optimizer is Adam. `value_weight` weighs half a squared error, the peers' `vf_coef` a whole one."""

NAMES = {
    "rollout": "n_steps",
    "gamma": "gamma",
    "lambda_": "gae_lambda",
    "learning_rate": "learning_rate",
    "standardise_advantages": "normalize_advantage",
}
OWN_NAMES = {
    "ppo": {
        "batch_size": "batch_size",
        "update_epochs": "n_epochs",
        "clip": "clip_range",
        "value_clip": "clip_range_vf",
        "entropy_weight": "ent_coef",
        "max_grad_norm": "max_grad_norm",
    },
    "actor_critic": {"entropy_weight": "ent_coef", "max_grad_norm": "max_grad_norm"},
    "trpo": {
        "batch_size": "batch_size",
        "update_epochs": "n_critic_updates",
        "max_kl": "target_kl",
        "cg_iterations": "cg_max_steps",
        "damping": "cg_damping",
        "shrink": "line_search_shrinking_factor",
        "search_steps": "line_search_max_iter",
    },
}
WITHOUT_PEER = {
    "schedule": "constant",
    "batch_size": None,
    "max_grad_norm": 0.0,
    "normalise_observations": False,
    "normalise_rewards": False,
    "over": "token",
    "stop_kl": None,
    "kl_penalty": None,
    "kl_penalty_target": None,
}
"""What a peer has no word for, and the value at which it does nothing."""


def ours(name: str) -> Method:
    """The method as `burnish classic` would have it."""
    return method(name, OPTIONS[name])


def theirs(name: str) -> dict[str, Any]:
    """The peer's arguments, translated from every field of `ours`; raises UserError where one has no counterpart."""
    names, given = NAMES | OWN_NAMES[name], ours(name).as_dict()
    arguments: dict[str, Any] = {
        "policy_kwargs": {
            "net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)},
            "activation_fn": torch.nn.Tanh,
            "ortho_init": True,
            "optimizer_class": torch.optim.Adam,
            "optimizer_kwargs": {"eps": given.pop("adam_eps")},
        }
    }
    given.pop("copies")  # how many environments the peer is given
    if "value_weight" in given:
        arguments["vf_coef"] = given.pop("value_weight") / 2
    if name == "actor_critic":
        arguments["use_rms_prop"] = False
    for key, value in given.items():
        if key in names:
            arguments[names[key]] = value
        elif key not in WITHOUT_PEER or value != WITHOUT_PEER[key]:
            raise UserError(f"{name}: {PEERS[name][1]} has nothing like {key}: {value}, so the two cannot be compared")
    return arguments


def peer_class(name: str) -> Any:
    """The peer itself, imported when it is needed: to read what is compared, it does not have to be installed."""
    module, cls = PEERS[name]
    return getattr(import_module(module), cls)


# How much of it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """Runs `first` … `last` of a method; each makes `steps`, or without them has its 1,000 episodes."""

    name: str
    first: int
    last: int
    steps: int | None
    seed: int = 0

    @property
    def rollout(self) -> int:
        """Steps between two updates of a run."""
        return OPTIONS[self.name]["copies"] * OPTIONS[self.name]["rollout"]


@dataclass(frozen=True)
class Plan:
    """What is measured. `steps` is for each run, made up to whole rollouts; none: 1,000 episodes a run."""

    algorithms: tuple[str, ...]
    runs: int
    processes: int
    rounds: int
    steps: int | None

    def shares(self, name: str) -> list[Share]:
        """The runs, as evenly as they go into the processes."""
        cuts = [self.runs * i // self.processes for i in range(self.processes + 1)]
        rollout = Share(name, 0, 0, None).rollout
        steps = self.steps and -(-self.steps // rollout) * rollout
        return [Share(name, a, b - 1, steps) for a, b in pairwise(cuts)]


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time learning against the peers.")
    parser.add_argument("--algorithms", default=",".join(PEERS), help="some of %(default)s")
    parser.add_argument("--runs", type=int, default=20, help="runs of each algorithm (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="processes of each side (%(default)s)")
    parser.add_argument("--rounds", type=int, help="turns of each side (3; 1 with --full)")
    parser.add_argument("--steps", type=int, default=10240, help="steps of a run, up to whole rollouts (%(default)s)")
    parser.add_argument("--full", action="store_true", help="1,000 episodes a run in place of --steps; takes hours")
    parser.add_argument("--out", default="bench/control.json", help="what to write (%(default)s)")
    return parser.parse_args(words)


def planned(given: argparse.Namespace) -> Plan:
    """The plan; raises UserError where there is none."""
    algorithms = tuple(name.strip() for name in given.algorithms.split(","))
    for name in algorithms:
        if name not in PEERS:
            raise UserError(f"no peer has {name!r}: --algorithms takes some of {', '.join(PEERS)}")
    rounds = given.rounds if given.rounds is not None else 1 if given.full else 3
    for key, value in (("rounds", rounds), ("steps", given.steps), ("processes", given.processes)):
        if value < 1:
            raise UserError(f"--{key} must be at least 1, not {value}")
    if given.runs < given.processes:
        raise UserError(f"--runs must be at least the {given.processes} processes, not {given.runs}")
    return Plan(algorithms, given.runs, given.processes, rounds, None if given.full else given.steps)
