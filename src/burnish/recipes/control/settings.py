"""The options of `burnish classic`: an environment, algorithms with their hyperparameters, runs and episodes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.algorithms.table import CONTROL, PATH, load
from burnish.config import construct, option_names, refuse, suggestion
from burnish.config.build import values_of
from burnish.config.settings import LARGEST_SEED, MOST_THREADS
from burnish.experience.control.replaying import Replay
from burnish.experience.control.rollouts import Control
from burnish.experience.control.stepwise import Stepwise
from burnish.options import check, option, quoted
from burnish.recipes.control.presets import PRESETS
from burnish.recipes.processes import cores
from burnish.run import UserError
from burnish.run.trackers import check_installed, tracker_names
from burnish.training.control.optimizer import Steps
from burnish.training.control.tabular import TableSteps

EPISODES = 1000
MOST_LAYERS, MOST_UNITS = 64, 16_384
BESIDE = {"algorithms", "env_options", "wrappers"}
"""What is given beside the fields of `ClassicSettings`."""
MOST_TRACKED = 100
"""Runs of a group with --track: each has open files of its own."""


@dataclass(frozen=True)
class ClassicSettings:
    """Everything about the experiment that does not belong to an algorithm."""

    env: str = option("CartPole-v1", "Gymnasium environment id, module:id, or module:function that makes one")
    runs: int = option(20, "independently seeded runs per algorithm", ge=1, most=100_000)
    episodes: int | None = option(
        None,
        "episodes per run, numbered in the order in which they began; default: 1000, or no limit with steps",
        ge=1,
        most=10_000_000,
    )
    steps: int | None = option(
        None, "environment steps per run; a run with episodes too ends with whichever come first", ge=1, most=10**12
    )
    out: str = option("runs/classic", "folder to write")
    seed: int = option(2, "seed of the experiment; run i has seed · 1,000,003 + i", ge=0, le=LARGEST_SEED)
    hidden: str = option("64,64", "sizes of the hidden layers of every policy and critic")
    group: int = option(20, "runs computed in lockstep; it changes the last bits of their numbers", ge=1, most=10_000)
    processes: int | None = option(
        None, "groups computed at the same time; default: one per core", ge=1, most=MOST_THREADS
    )
    track: str | None = option(
        None,
        "trackers in which every run is one of their own: tensorboard, wandb, trackio, mlflow; several with commas, or "
        "with --track repeated",
        several=True,
    )
    resume: bool = option(False, "keep the finished groups in --out and compute the others")
    quiet: bool = option(False, "print nothing but errors")
    debug: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Method:
    """An algorithm with the options of its experience and of its optimizer."""

    name: str
    algorithm: Any
    control: Any
    steps: Any

    def as_dict(self) -> dict[str, Any]:
        parts = [values_of(part) for part in (self.algorithm, self.control, self.steps)]
        return parts[0] | parts[1] | parts[2]


@dataclass(frozen=True)
class Experiment:
    """The settings, the methods, and the environment's own options and wrappers."""

    settings: ClassicSettings
    methods: tuple[Method, ...]
    env_options: Mapping[str, Any]
    wrappers: Sequence[Mapping[str, Mapping[str, Any]]] = ()

    def as_dict(self) -> dict[str, Any]:
        """The resolved configuration, as `experiment` reads it back."""
        common = dataclasses.asdict(self.settings)
        own = {"algorithms": {method.name: method.as_dict() for method in self.methods}}
        beside: dict[str, Any] = {"wrappers": list(self.wrappers)} if self.wrappers else {}
        return common | own | beside | {"env_options": dict(self.env_options)}

    @property
    def hidden(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.settings.hidden.split(","))

    @property
    def processes(self) -> int:
        return self.settings.processes or cores()


def experiment(options: Mapping[str, Any]) -> Experiment:
    """The experiment for flat `options` from a file, flags or Python.

    `algorithms` is a comma-separated text, a list, or a mapping of names to hyperparameters; the others come from the
    environment's preset, or CartPole's. For `env` and `wrappers` see `recipes.control.environment`.
    Raises UserError for an invalid key or value.
    """
    # The command line reads this module for its flags, and needs no Gymnasium for that.
    from burnish.recipes.control.environment import plain_options, with_environment, wrappers_of

    given = with_environment({key.replace("-", "_"): value for key, value in options.items()})
    algorithms = given.pop("algorithms", ",".join(PATH))
    env_options, wrappers = given.pop("env_options", {}), wrappers_of(given.pop("wrappers", ()))
    if not isinstance(env_options, Mapping):
        raise UserError(f"env_options must be a mapping of keys to values, not {env_options!r}")
    known = option_names(ClassicSettings)
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for classic{suggestion(key, known | BESIDE)}")
    settings = checked(construct(ClassicSettings, given))
    asked = asked_for(algorithms)
    presets = PRESETS.get(settings.env.rpartition(":")[2], PRESETS["CartPole-v1"])
    methods = tuple(method(name, presets[name] | own) for name, own in asked.items())
    return Experiment(settings, methods, plain_options(env_options, "env_options"), wrappers)


def asked_for(algorithms: Any) -> dict[str, dict[str, Any]]:
    """Names and hyperparameters of the requested algorithms, in the order of the path."""
    if isinstance(algorithms, str):
        algorithms = [name.strip() for name in algorithms.split(",") if name.strip()]
    if isinstance(algorithms, list | tuple) and all(isinstance(name, str) for name in algorithms):
        algorithms = dict.fromkeys(algorithms)
    if not isinstance(algorithms, Mapping):
        raise UserError(f"algorithms must be names, or a mapping of names to hyperparameters, not {algorithms!r}")
    asked = {str(name).replace("-", "_"): {} if own is None else own for name, own in algorithms.items()}
    for name, own in asked.items():
        if name not in CONTROL:
            raise UserError(f"no such algorithm {quoted(name)} for control{suggestion(name, set(CONTROL))}")
        if not isinstance(own, Mapping):
            raise UserError(f"the hyperparameters of {name} must be a mapping of keys to values, not {own!r}")
    if not asked:
        raise UserError(f"algorithms is empty: give one or more of {', '.join(CONTROL)}")
    return {name: dict(asked[name]) for name in CONTROL if name in asked}


def method(name: str, options: Mapping[str, Any]) -> Method:
    """One algorithm with its hyperparameters."""
    algorithm = load(name)
    given = {key.replace("-", "_"): value for key, value in options.items()}
    types = (algorithm, *knobs_of(algorithm))
    known = set().union(*map(option_names, types))
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for {name}{suggestion(key, known)}")
    parts = [construct(cls, {k: v for k, v in given.items() if k in option_names(cls)}) for cls in types]
    control, steps = parts[1], parts[2]
    whole = control.rollout is None
    single = not whole and control.copies * (control.rollout or 0) == 1
    refuse(
        {
            f"{name} learns from whole episodes: leave rollout out": algorithm.whole_episodes
            and control.rollout is not None,
            f"{name} standardises advantages, which are 0 where a rollout has one step: raise copies or rollout": (
                single and bool(values_of(parts[0]).get("standardise_advantages"))
            ),
            f"{name} learns from steps: give rollout": whole and not algorithm.whole_episodes,
            f"{name} learns from a whole rollout at once: leave batch_size out": steps.batch_size is not None
            and not algorithm.replays
            and "update_epochs" not in option_names(algorithm),
        }
    )
    return Method(name, *parts)


def knobs_of(algorithm: type[Any]) -> tuple[type[Any], type[Any]]:
    """The options of an algorithm's experience, and of its steps."""
    if algorithm.head == "table":
        return Stepwise, TableSteps
    return (Replay if algorithm.replays else Control), Steps


def checked(settings: ClassicSettings) -> ClassicSettings:
    """The settings, with a length, and with trackers as a comma-separated text. Raises UserError for sizes of hidden
    layers that make no sense, and for trackers that do not exist or are not installed."""
    sizes = [size.strip() for size in settings.hidden.split(",")]
    refuse(
        {
            f"hidden must be sizes of layers, comma-separated, like 64,64, not {settings.hidden[:100]!r}": not all(
                size.isdecimal() and size.strip("0") for size in sizes
            ),
            f"hidden must have at most {MOST_LAYERS} sizes, not {len(sizes)}": len(sizes) > MOST_LAYERS,
            f"hidden must have sizes of at most {MOST_UNITS}, not {max(sizes, key=len)[:100]}": any(
                len(size) > len(str(MOST_UNITS)) or int(size) > MOST_UNITS for size in sizes if size.isdecimal()
            ),
        }
    )
    if settings.episodes is None and settings.steps is None:
        settings = dataclasses.replace(settings, episodes=EPISODES)
    if settings.track is None:
        return settings
    names = tracker_names(settings.track)
    check_installed(names)
    refuse(
        {
            f"track follows at most {MOST_TRACKED} runs that are computed together: set group to {MOST_TRACKED}": (
                min(settings.group, settings.runs) > MOST_TRACKED
            )
        }
    )
    return dataclasses.replace(settings, track=",".join(names))
