"""The options of `burnish classic`: an environment, algorithms with their hyperparameters, runs and episodes."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from burnish.algorithms.table import CLASSIC
from burnish.config import bad_seed, construct, option_names, refuse, suggestion
from burnish.experience.control.rollouts import Control
from burnish.recipes.control.presets import PRESETS
from burnish.run import UserError
from burnish.training.control.lockstep import Steps


def option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class ClassicSettings:
    """Everything about the experiment that is no algorithm's own."""

    env: str = option("CartPole-v1", "Gymnasium environment id, or module:id")
    runs: int = option(20, "independently seeded runs of each algorithm")
    episodes: int = option(1000, "episodes of each run, numbered in the order in which they began")
    out: str = option("runs/classic", "folder to write")
    seed: int = option(2, "seed of the experiment; run i has seed · 1,000,003 + i")
    hidden: str = option("64,64", "sizes of the hidden layers of every policy and critic")
    group: int = option(20, "runs that are computed in lockstep; it changes the last bits of their numbers")
    processes: int | None = option(None, "groups computed at the same time; default: one a core")
    resume: bool = option(False, "keep the groups in --out that are finished and compute the others")
    quiet: bool = option(False, "print nothing but errors")
    debug: bool = option(False, "show tracebacks")


@dataclass(frozen=True)
class Method:
    """An algorithm with all that a run of it needs: how it learns, how it meets the environment, how it descends."""

    name: str
    algorithm: Any
    control: Control
    steps: Steps

    def as_dict(self) -> dict[str, Any]:
        parts = [dataclasses.asdict(part) for part in (self.algorithm, self.control, self.steps)]
        return parts[0] | parts[1] | parts[2]


@dataclass(frozen=True)
class Experiment:
    """The settings, the methods, and the environment's own options."""

    settings: ClassicSettings
    methods: tuple[Method, ...]
    env_options: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The resolved configuration, as `experiment` reads it back."""
        common = dataclasses.asdict(self.settings)
        own = {"algorithms": {method.name: method.as_dict() for method in self.methods}}
        return common | own | {"env_options": dict(self.env_options)}

    @property
    def hidden(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.settings.hidden.split(","))

    @property
    def processes(self) -> int:
        return self.settings.processes or len(os.sched_getaffinity(0))


def experiment(options: Mapping[str, Any]) -> Experiment:
    """The experiment that flat `options` ask for, as keys of a file, flags or Python have them.

    `algorithms` is a text with commas, a list, or a mapping of names to hyperparameters; those not given are the preset
    of the environment, or CartPole's. Raises UserError for a key or value amiss.
    """
    given = {key.replace("-", "_"): value for key, value in options.items()}
    algorithms = given.pop("algorithms", ",".join(CLASSIC))
    env_options = given.pop("env_options", {})
    if not isinstance(env_options, Mapping):
        raise UserError(f"env_options must hold keys and values, not {env_options!r}")
    known = option_names(ClassicSettings)
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for classic{suggestion(key, known | {'algorithms', 'env_options'})}")
    settings = checked(construct(ClassicSettings, given))
    asked = asked_for(algorithms)
    presets = PRESETS.get(settings.env.rpartition(":")[2], PRESETS["CartPole-v1"])
    return Experiment(settings, tuple(method(name, presets[name] | own) for name, own in asked.items()), env_options)


def asked_for(algorithms: Any) -> dict[str, dict[str, Any]]:
    """Names and hyperparameters of the algorithms that were asked for, in the order of the path."""
    if isinstance(algorithms, str):
        algorithms = [name.strip() for name in algorithms.split(",") if name.strip()]
    if isinstance(algorithms, list | tuple) and all(isinstance(name, str) for name in algorithms):
        algorithms = dict.fromkeys(algorithms)
    if not isinstance(algorithms, Mapping):
        raise UserError(f"algorithms must be names, or names with their hyperparameters, not {algorithms!r}")
    asked = {str(name).replace("-", "_"): {} if own is None else own for name, own in algorithms.items()}
    for name, own in asked.items():
        if name not in CLASSIC:
            raise UserError(f"there is no algorithm '{name}' for control{suggestion(name, set(CLASSIC))}")
        if not isinstance(own, Mapping):
            raise UserError(f"the hyperparameters of {name} must be keys and values, not {own!r}")
    if not asked:
        raise UserError(f"algorithms names none: give one or more of {', '.join(CLASSIC)}")
    return {name: dict(asked[name]) for name in CLASSIC if name in asked}


def method(name: str, options: Mapping[str, Any]) -> Method:
    """One algorithm with its hyperparameters."""
    entry = CLASSIC[name]
    given = {key.replace("-", "_"): value for key, value in options.items()}
    types: tuple[type[Any], ...] = (entry.algorithm, Control, Steps)
    known = set().union(*map(option_names, types))
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for {name}{suggestion(key, known)}")
    parts = [construct(cls, {k: v for k, v in given.items() if k in option_names(cls)}) for cls in types]
    control, steps = parts[1], parts[2]
    whole = control.rollout is None
    refuse(
        {
            f"{name} learns from whole episodes: leave rollout out": entry.whole_episodes
            and control.rollout is not None,
            f"{name} learns from steps: give rollout": whole and not entry.whole_episodes,
            f"{name} learns from a whole rollout at once: leave batch_size out": steps.batch_size is not None
            and "update_epochs" not in option_names(entry.algorithm),
        }
    )
    return Method(name, *parts)


def checked(settings: ClassicSettings) -> ClassicSettings:
    """The settings; raises UserError for one that makes no sense."""
    sizes = settings.hidden.split(",")
    refuse(
        bad_seed(settings.seed)
        | {
            "runs must be at least 1": settings.runs < 1,
            "episodes must be at least 1": settings.episodes < 1,
            "group must be at least 1": settings.group < 1,
            "processes must be at least 1": settings.processes is not None and settings.processes < 1,
            f"hidden must be sizes of layers with commas between, like 64,64, not {settings.hidden!r}": not all(
                size.strip().isdecimal() and int(size) > 0 for size in sizes
            ),
        }
    )
    return settings
