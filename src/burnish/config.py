"""The options of a training run: one flat set of keys for YAML files, flags and Python alike.

An option that is not known, has the wrong type, or makes no sense with another is refused here, before anything is
loaded: none is accepted and ignored.
"""

import dataclasses
import difflib
import math
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.experience.language.bests import Bests
from burnish.experience.language.completions import Completions
from burnish.experience.language.pairs import Pairs
from burnish.policies.language.adapters import lora_problems
from burnish.run import UserError

LARGEST_SEED = 2**32 - 1
SCHEDULES = Literal["constant", "linear", "cosine"]


def option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """Everything about a run that is not the algorithm's own."""

    model: str = option("builtin", "model to train: 'builtin', a folder, or a Hugging Face name")
    data: str = option("builtin", "training data: 'builtin', a file, a folder, or a Hugging Face name[:split]")
    out: str | None = option(None, "run folder to write")
    seed: int = option(0, "seed of every random stream")
    steps: int | None = option(None, "optimizer updates; default: what --epochs gives")
    epochs: float | None = option(None, "passes over the data; default 1")
    batch_size: int = option(16, "rows of one optimizer update")
    accumulate: int = option(1, "pieces that a batch is divided into: less memory, the same result (but for dropout)")
    learning_rate: float | None = option(
        None, "peak learning rate; default: the method's own, with LoRA ten times that"
    )
    warmup: float = option(0.0, "learning-rate warm-up: a share of the steps if below 1, else steps")
    schedule: SCHEDULES = option("linear", "learning rate after the warm-up")
    weight_decay: float = option(0.0, "AdamW's decoupled weight decay")
    max_grad_norm: float = option(1.0, "clip the gradient's norm to this; 0 does not clip")
    max_length: int = option(512, "longest prompt + response in tokens; the prompt's left is cut first")
    mask_formatting: bool = option(
        False, "train no token that only begins or ends a turn, as Llama 3 does when it learns from preferences"
    )
    lora_rank: int | None = option(None, "train adapters of this rank (LoRA) in place of all weights")
    lora_alpha: int | None = option(
        None, "alpha, by which LoRA scales an adapter as alpha/rank; default: twice the rank"
    )
    lora_dropout: float = option(0.0, "dropout of what an adapter reads, for methods that have dropout")
    lora_targets: str | None = option(None, "layers with adapters, names with commas; default: all-linear")
    precision: Literal["float32", "bfloat16"] = option("float32", "arithmetic of the model; weights stay float32")
    eval_data: str | None = option(None, "data to evaluate on while training; with built-in data: its validation part")
    eval_every: int | None = option(None, "evaluate every so many steps; default: at the end")
    patience: int = option(0, "stop after so many evaluations without a lower loss and keep the best; 0 never stops")
    save_every: int = option(100, "checkpoint every so many steps; 0 saves none")
    resume: bool = option(False, "go on from the newest checkpoint in --out; with none there, start")
    device: str = option("auto", "cpu, cuda, cuda:1 …; auto takes a GPU where there is one")
    threads: int | None = option(None, "CPU threads; default: PyTorch's")
    quiet: bool = option(False, "print nothing but errors")
    debug: bool = option(False, "show tracebacks")
    experience: Completions | Pairs | Bests | None = None
    """Where an online method's batches come from; its knobs are keys and flags like the others."""


EXPERIENCES: dict[str, type[Any]] = {"completions": Completions, "pairs": Pairs, "bests": Bests}
"""What the table's methods that sample meet their prompts through."""


def option_types(name: str) -> list[type[Any]]:
    """The dataclasses whose fields are the options of a method: its own, its experience's, and the common ones."""
    entry = ALGORITHMS[name]
    online = [EXPERIENCES[entry.experience]] if entry.experience else []
    return [entry.algorithm, *online, Settings]


def option_names(cls: type[Any]) -> set[str]:
    return {f.name for f in fields(cls)} - {"experience"}


def read_config(path: str | Path) -> dict[str, Any]:
    """The keys of a YAML file. Raises UserError where it cannot be read or is no mapping."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"--config {path} must hold one key: value pair a line")
    return {str(key): value for key, value in content.items()}


ELSEWHERE = {
    "max_steps": "steps",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "output_dir": "out",
    "train_dataset": "data",
    "eval_dataset": "eval_data",
    "dataset_name": "data",
    "model_name_or_path": "model",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "schedule",
    "save_steps": "save_every",
    "eval_steps": "eval_every",
    "lr": "learning_rate",
    "reward_model_path": "reward",
    "kl_coef": "beta",
    "init_kl_coef": "beta",
    "cliprange": "clip",
    "clip_range": "clip",
    "cliprange_value": "value_clip",
    "clip_range_vf": "value_clip",
    "vf_coef": "value_weight",
    "ent_coef": "entropy_weight",
    "lam": "lambda_",
    "gae_lambda": "lambda_",
    "num_ppo_epochs": "update_epochs",
    "n_epochs": "update_epochs",
    "response_length": "max_new_tokens",
    "num_generations": "completions_per_prompt",
    "target_kl": "stop_kl",
    "center_rewards_coefficient": "centre_coefficient",
    "lora_r": "lora_rank",
    "use_peft": "lora_rank",
    "lora_target_modules": "lora_targets",
}
"""What users of TRL and transformers may write, and what it is called here."""


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: the first would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if doubled := [key for key, times in Counter(map(str, keys)).items() if times > 1]:
            raise yaml.MarkedYAMLError(problem=f"the key '{doubled[0]}' is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def build(name: str, options: dict[str, Any]) -> tuple[Any, Settings]:
    """The algorithm `name` and the settings that `options` ask for. Raises UserError for a key or value amiss."""
    if options.get("algorithm", name) != name:
        raise UserError(f"the configuration is one for '{options['algorithm']}', not for '{name}'")
    given = {key.replace("-", "_"): value for key, value in options.items() if key != "algorithm"}
    types = option_types(name)
    known = set().union(*map(option_names, types))
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for {name}{suggestion(key, known)}")
    parts = [construct(cls, {k: v for k, v in given.items() if k in option_names(cls)}) for cls in types]
    algorithm, settings = parts[0], parts[-1]
    if len(parts) == 3:
        settings = dataclasses.replace(settings, experience=parts[1])
    return algorithm, checked(algorithm, settings)


def machine_checked(settings: Settings) -> Settings:
    """The settings, whose seed and threads make sense for any command."""
    refuse(
        bad_seed(settings.seed) | {"threads must be at least 1": settings.threads is not None and settings.threads < 1}
    )
    return settings


def bad_seed(seed: int) -> dict[str, bool]:
    return {f"seed must lie between 0 and {LARGEST_SEED}": not 0 <= seed <= LARGEST_SEED}


def refuse(problems: dict[str, bool]) -> None:
    """Raise UserError with the first problem that there is."""
    for problem, amiss in problems.items():
        if amiss:
            raise UserError(problem)


def checked(algorithm: Any, settings: Settings) -> Settings:
    """The settings with their defaults filled in. Raises UserError for a combination that makes no sense."""
    entry = ALGORITHMS[name_of(algorithm)]
    machine_checked(settings)
    problems = {
        "steps and epochs say the same thing: give one of them": settings.steps is not None
        and settings.epochs is not None,
        "steps must be at least 1": settings.steps is not None and settings.steps < 1,
        "epochs must be above 0": settings.epochs is not None and not settings.epochs > 0,
        "batch_size must be at least 1": settings.batch_size < 1,
        f"batch_size must be at least {entry.least_rows} for {name_of(algorithm)}: it measures how far the policy has "
        "moved on the batch's rows, and what one row says of that is noise": settings.batch_size < entry.least_rows,
        "accumulate must lie between 1 and batch_size": not 1 <= settings.accumulate <= max(1, settings.batch_size),
        "learning_rate must be above 0": settings.learning_rate is not None and not settings.learning_rate > 0,
        "warmup must not be negative": settings.warmup < 0,
        "weight_decay must not be negative": settings.weight_decay < 0,
        "max_grad_norm must not be negative": settings.max_grad_norm < 0,
        "max_length must be at least 2": settings.max_length < 2,
        "eval_every must be at least 1": settings.eval_every is not None and settings.eval_every < 1,
        "save_every must not be negative": settings.save_every < 0,
        "patience must not be negative": settings.patience < 0,
        "patience counts evaluations: give eval_every as well": settings.patience > 0 and settings.eval_every is None,
        "mask_formatting is of methods that learn from a response's tokens, found better or worse": (
            settings.mask_formatting and (entry.data not in ("preferences", "feedback") or entry.trains == "scorer")
        ),
        "eval_every needs eval_data where the training data is your own": settings.eval_every is not None
        and settings.eval_data is None
        and settings.data != "builtin",
    } | online_problems(name_of(algorithm), settings)
    lora = (settings.lora_rank, settings.lora_alpha, settings.lora_dropout, settings.lora_targets)
    refuse(problems | lora_problems(*lora, entry.dropout))
    filled: dict[str, Any] = {}
    if settings.learning_rate is None:
        # An adapter's best rate is about ten times that of all weights, whatever its rank (Schulman et al. 2025).
        filled["learning_rate"] = round(entry.learning_rate * (1 if settings.lora_rank is None else 10), 15)
    if settings.steps is None and settings.epochs is None:
        filled["epochs"] = 1.0
    return dataclasses.replace(settings, **filled)


def online_problems(name: str, settings: Settings) -> dict[str, bool]:
    """What makes no sense where completions are sampled."""
    if not ALGORITHMS[name].experience:
        return {}
    knobs = settings.experience or EXPERIENCES[ALGORITHMS[name].experience]()
    return {
        f"{name} needs a reward: a reward-model folder, 'gold', 'lexicon', or module:function": knobs.reward is None,
        "rollout must not be smaller than batch_size": knobs.rollout < settings.batch_size,
        "max_new_tokens must be smaller than max_length, which counts the prompt too": knobs.max_new_tokens
        >= settings.max_length,
        "kl_horizon is of an adaptive beta: give kl_target as well": isinstance(knobs, Completions)
        and knobs.kl_target is None
        and knobs.kl_horizon != Completions.kl_horizon,
        "patience needs a loss on data that stays the same, which a policy's own completions do not": settings.patience
        > 0,
    }


def as_dict(algorithm: Any, settings: Settings) -> dict[str, Any]:
    """The resolved configuration as `build` reads it back."""
    experience = settings.experience
    common = dataclasses.asdict(dataclasses.replace(settings, experience=None))
    del common["experience"]
    online: dict[str, Any] = {}
    if experience is not None:
        written = None if experience.reward is None else named(experience.reward)
        online = dataclasses.asdict(dataclasses.replace(experience, reward=written))
    return {"algorithm": name_of(algorithm)} | dataclasses.asdict(algorithm) | online | common


def named(reward: Any) -> str:
    """A reward as a file can hold it: one given in Python by its name, `module:function` where it has such a name."""
    if isinstance(reward, str):
        return reward
    module, name = getattr(reward, "__module__", None), getattr(reward, "__qualname__", None)
    return f"{module}:{name}" if module and name else str(getattr(reward, "name", type(reward).__name__))


def construct(cls: type, values: dict[str, Any]) -> Any:
    """An object of a dataclass from values as files and flags have them. Raises UserError for one amiss."""
    hints = get_type_hints(cls)
    try:
        return cls(**{key: _convert(key, value, hints[key]) for key, value in values.items()})
    except ValueError as error:
        raise UserError(str(error)) from error


def _convert(key: str, value: Any, hint: Any) -> Any:
    """The value as its field's type; whole numbers may be written as 1e3, paths given as Path."""
    if hint is Any:
        return str(value) if isinstance(value, Path) else value
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return None
    kind = next(k for k in kinds if k is not NoneType)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise UserError(f"{key} must be one of {', '.join(map(str, get_args(kind)))}, not {value!r}")
    if kind is bool:
        if isinstance(value, bool):
            return value
    elif kind is str:
        if isinstance(value, str | Path):
            return str(value)
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif not isinstance(value, bool):
        try:
            number = float(value)  # YAML reads 1e-4 as text
            if math.isfinite(number) and (kind is float or number.is_integer()):
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            pass
    noun = {bool: "true or false", str: "text", int: "a whole number", float: "a finite number"}[kind]
    given = repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    raise UserError(f"{key} must be {noun}, not {given}")


def suggestion(key: str, known: set[str]) -> str:
    """What to write in place of an unknown key, as the end of a sentence."""
    if key in ELSEWHERE:
        return f": it is '{ELSEWHERE[key]}' here"
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean '{near[0]}'?" if near else f"; the keys are {', '.join(sorted(known))}"
