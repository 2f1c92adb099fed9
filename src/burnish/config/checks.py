"""Combinations of settings that make no sense, refused before anything is loaded."""

from __future__ import annotations  # Algorithm imports PyTorch

import dataclasses
from typing import TYPE_CHECKING, Any

from burnish.config.settings import Settings
from burnish.data import names
from burnish.data.rendering import Rendering
from burnish.run import UserError
from burnish.run.trackers import tracker_names

if TYPE_CHECKING:
    from burnish.algorithms.interface import Algorithm


def refuse(problems: dict[str, bool]) -> None:
    """Raise UserError with the first problem that applies."""
    for problem, applies in problems.items():
        if applies:
            raise UserError(problem)


def checked(algorithm: Algorithm, settings: Settings) -> Settings:
    """The settings with their defaults filled in. Raises UserError for a combination that makes no sense."""
    from burnish.algorithms.interface import name_of

    name = name_of(algorithm)
    for part in names.parts(settings.data):
        check_task(part)
    settings = with_task_reward(settings)
    if settings.eval_data is not None:
        for part in names.unweighted(settings.eval_data):
            check_task(part)
    refuse(
        {
            f"{key} is empty: give a value, or leave it out": getattr(settings, key) == ""
            for key in ("model", "out", "from_", "revision", "device", "lora_targets", "watch_labels", "watch_rewards")
        }
        | {
            "steps and epochs both set the length of the run: give one of them": settings.steps is not None
            and settings.epochs is not None,
            f"batch_size must be at least {algorithm.least_rows} for {name}: it estimates how far the policy has moved "
            "from the batch's rows, and one row alone is noise": settings.batch_size < algorithm.least_rows,
            "neftune only applies to methods that train with dropout, such as sft: it would add noise to a ratio, a "
            "reference or a score": settings.neftune is not None and not algorithm.dropout,
            "accumulate must lie between 1 and batch_size": settings.accumulate > settings.batch_size,
            "from_ and model both name what to start from: leave out model": settings.from_ is not None
            and settings.model not in (Settings.model, settings.from_),
        }
        | evaluation_problems(settings)
        | watch_problems(name, algorithm, settings)
        | rendering_problems(algorithm, settings)
        | streaming_problems(name, settings)
        | holdout_problems(settings)
        | grouping_problems(name, settings)
        | lora_problems(settings, algorithm.dropout)
        | loading_problems(settings)
        | optimizer_problems(settings)
        | schedule_problems(settings)
        | sampler_problems(name, settings)
    )
    if settings.experience is not None:
        settings = dataclasses.replace(settings, experience=settings.experience.filled(settings))
        refuse(settings.experience.problems(name, settings))
        refuse(algorithm.problems(settings.experience))
    filled: dict[str, Any] = {} if settings.from_ is None else {"model": settings.from_}
    if settings.track is not None:
        filled["track"] = ",".join(tracker_names(settings.track))
    if settings.learning_rate is None:
        # An adapter's best rate is about ten times that of all weights, whatever its rank (Schulman et al. 2025).
        filled["learning_rate"] = round(algorithm.learning_rate * (1 if settings.lora_rank is None else 10), 15)
    if settings.steps is None and settings.epochs is None:
        filled["epochs"] = 1.0
    return dataclasses.replace(settings, **filled)


def evaluation_problems(settings: Settings) -> dict[str, bool]:
    """What may be wrong with evaluation during training, and whether it is."""
    return {
        "patience counts evaluations: set eval_every too": settings.patience > 0 and settings.eval_every is None,
        "save_best compares evaluations: set eval_every too": settings.save_best and settings.eval_every is None,
        "eval_every needs eval_data or holdout, unless the training data is built in": settings.eval_every is not None
        and settings.eval_data is None
        and not settings.holdout
        and settings.data != "builtin"
        and names.held_out_tasks(settings.data) is None,
        "eval_data and eval_every need an experience with a method evaluate: write one, or leave them out": (
            settings.experience is not None
            and not settings.experience.evaluates
            and (settings.eval_data is not None or settings.eval_every is not None)
        ),
    }


def watch_problems(method: str, algorithm: Algorithm, settings: Settings) -> dict[str, bool]:
    """What may be wrong with what is watched at evaluations, and whether it is."""
    experience, members = settings.experience, settings.watch_rewards
    pairs = experience is None and algorithm.data == "preferences" and "policy" in algorithm.roles
    alone = {
        f"{key} only applies to what is watched: set watch too": not settings.watch
        and getattr(settings, key) is not None
        for key in ("watch_labels", "watch_rewards")
    }
    return alone | {
        "watch is for policies that learn from the reward of their completions or from comparisons, and "
        f"{method} as it is set here does not: leave it out": settings.watch
        and not (pairs if experience is None else experience.watches),
        "watch compares evaluations with the start: set eval_every too": settings.watch and settings.eval_every is None,
        f"watch_rewards {members} is one reward model, and it takes two to disagree: give more, with commas": (
            isinstance(members, str) and len([one for one in members.split(",") if one.strip()]) < 2
        ),
    }


def check_task(part: names.Part) -> None:
    """Raise UserError for a task, an option or a split that does not exist."""
    if part.is_task:
        from burnish.data.tasks.stream import check

        check(part.name, part.suffixes)


def with_task_reward(settings: Settings) -> Settings:
    """The settings with the checker of the rows' tasks as the reward, where all data are tasks and none is given."""
    experience = settings.experience
    if experience is None or "reward" not in experience.needs or names.held_out_tasks(settings.data) is None:
        return settings
    if "reward" not in {one.name for one in dataclasses.fields(experience)} or experience.reward is not None:
        return settings
    return dataclasses.replace(settings, experience=dataclasses.replace(experience, reward=names.TASK))


def rendering_problems(algorithm: Algorithm | type[Algorithm], options: Settings | Rendering) -> dict[str, bool]:
    """What may be wrong with the options that say what of a response is trained, and whether it is."""
    scoring, sampling = "scorer" in algorithm.roles, algorithm.data == "prompts"
    return {
        "mask_formatting only applies to methods that learn from responses labelled better or worse": (
            options.mask_formatting and (algorithm.data not in ("preferences", "feedback") or scoring)
        ),
        "train_thoughts only applies to methods that learn from written responses token by token: leave it out": (
            not options.train_thoughts and (sampling or scoring)
        ),
        "last_answer_only only applies to methods that learn from written responses: leave it out": (
            options.last_answer_only and sampling
        ),
    }


def loading_problems(settings: Settings) -> dict[str, bool]:
    """What may be wrong with how the weights of a trained model are loaded, and whether it is."""
    quantised = {"load_in_4bit": settings.load_in_4bit, "load_in_8bit": settings.load_in_8bit}
    return {
        f"{key} needs LoRA, because quantised weights cannot be trained: set lora_rank too": given
        and settings.lora_rank is None
        for key, given in quantised.items()
    } | {
        "load_in_4bit and load_in_8bit cannot go together: give one of them": all(quantised.values()),
        "dtype float16 is for sampling only, because training in it needs loss scaling: set dtype bfloat16": (
            settings.dtype == "float16"
        ),
    }


def streaming_problems(method: str, settings: Settings) -> dict[str, bool]:
    """What may be wrong with streamed data, and whether it is."""
    on = bool(settings.streaming)
    return {
        "streaming is for data of your own, and the built-in data and tasks are in memory: leave it out": (
            on and any(part.name == "builtin" or part.is_task for part in names.parts(settings.data))
        ),
        f"{method} samples from all its prompts, which cannot be streamed: leave out streaming": (
            on and settings.experience is not None
        ),
        "shuffle_buffer only applies to streamed data: set streaming too": (
            not on and settings.shuffle_buffer != Settings.shuffle_buffer
        ),
    }


def holdout_problems(settings: Settings) -> dict[str, bool]:
    """What may be wrong with the share of the rows that is held out, and whether it is."""
    on, experience = settings.holdout > 0, settings.experience
    return {
        "holdout and eval_data both say what is evaluated on: give one of them": on and settings.eval_data is not None,
        "holdout chooses among all rows, which are not known of streamed data: give eval_data instead": (
            on and bool(settings.streaming)
        ),
        "holdout is for data of your own, and the built-in data and tasks have a split for it: leave it out": (
            on and any(part.name == "builtin" or part.is_task for part in names.parts(settings.data))
        ),
        "holdout needs an experience with a method evaluate: write one, or leave it out": (
            on and experience is not None and not experience.evaluates
        ),
    }


def grouping_problems(method: str, settings: Settings) -> dict[str, bool]:
    """What may be wrong with batches of rows of about the same length, and whether it is."""
    return {
        f"group_by_length needs the lengths of rows, and {method} samples its own: leave it out": (
            settings.group_by_length and settings.experience is not None
        ),
        "group_by_length needs the lengths of all rows, which are not known of streamed data: leave out streaming": (
            settings.group_by_length and bool(settings.streaming)
        ),
    }


def lora_problems(settings: Settings, dropout: bool) -> dict[str, bool]:
    """What may be wrong with the LoRA options, and whether it is; `dropout`: the method trains with dropout."""
    given = {
        "lora_alpha": settings.lora_alpha is not None,
        "lora_dropout": settings.lora_dropout != 0,
        "lora_targets": settings.lora_targets is not None,
    }
    alone = {
        f"{key} only applies to LoRA: set lora_rank too": settings.lora_rank is None and given[key] for key in given
    }
    return alone | {
        "lora_dropout only applies to methods that train with dropout, such as sft: it would add noise to a ratio, a "
        "reference or a score": settings.lora_dropout > 0 and not dropout,
    }


def optimizer_problems(settings: Settings) -> dict[str, bool]:
    """What may be wrong with the options of the optimizer, and whether it is."""
    readers = dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon"), ("adamw", "adamw_8bit"))
    return sharding_problems(settings) | {
        f"{key} only applies to {' and '.join(names)}: leave it out, or set optimizer to {names[0]}": (
            getattr(settings, key) is not None and settings.optimizer not in names
        )
        for key, names in (readers | {"momentum": ("sgd",)}).items()
    }


def sampler_problems(method: str, settings: Settings) -> dict[str, bool]:
    """What may be wrong with a sampler elsewhere, and whether it is."""
    given, quantised = settings.sampler is not None, settings.load_in_4bit or settings.load_in_8bit
    return {
        f"sampler only applies to methods that sample, and {method} does not: leave it out": (
            given and settings.experience is None
        ),
        "sampler needs weights that can be handed over: leave out load_in_4bit and load_in_8bit": given and quantised,
        "sampler needs the whole weights, to hand them over: set shard to optimizer or none": given
        and settings.shard == "full",
        f"staleness only applies to methods that sample, and {method} does not: leave it out": settings.staleness > 0
        and settings.experience is None,
        "staleness keeps the whole weights of earlier turns: set shard to optimizer or none": settings.staleness > 0
        and settings.shard == "full",
    } | sampler_options(settings)


def sampler_options(settings: Settings) -> dict[str, bool]:
    """Options that say something of a sampler elsewhere where there is none."""
    changed = ("sampler_timeout", "sampler_bound")
    return {
        f"{key} only applies to a sampler elsewhere: set sampler too": settings.sampler is None
        and getattr(settings, key) != getattr(Settings, key)
        for key in changed
    }


def schedule_problems(settings: Settings) -> dict[str, bool]:
    """What may be wrong with the options of the learning-rate schedule, and whether it is."""
    stable = "warmup_stable_decay"
    return {
        "min_lr_ratio only applies to a schedule that falls: leave it out, or set schedule to cosine": (
            settings.min_lr_ratio > 0 and settings.schedule == "constant"
        ),
    } | {
        f"{key} only applies to the schedule {stable}: leave it out, or set schedule to {stable}": (
            getattr(settings, key) is not None and settings.schedule != stable
        )
        for key in ("decay", "decay_type")
    }


def sharding_problems(settings: Settings) -> dict[str, bool]:
    """What may be wrong with the division of the weights among processes, and whether it is."""
    full = settings.shard == "full"
    return {
        f"shard {settings.shard} is for optimizers that update every number by itself: set optimizer to adamw or sgd": (
            settings.shard != "none" and settings.optimizer in ("adamw_8bit", "adafactor")
        ),
        "shard full cannot divide quantised weights: set shard to optimizer, or leave out load_in_4bit and "
        "load_in_8bit": full and (settings.load_in_4bit or settings.load_in_8bit),
        "offload only applies to weights that are divided: set shard to full too": settings.offload and not full,
    }
