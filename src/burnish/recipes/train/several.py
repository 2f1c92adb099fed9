"""A run in several processes: what it cannot do yet, and that all processes are alike."""

from collections.abc import Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from burnish.config import Settings, refuse
from burnish.experience.language.sampling import Sampling
from burnish.policies.interface import Models
from burnish.policies.language.sharding import check_blocks
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.given import Given
from burnish.recipes.train.models import loading_of, pick_device
from burnish.run.records import HARMLESS
from burnish.run.world import World


def of_process(settings: Settings, given: Given, world: World) -> Settings:
    """The settings of one process of a run: only the main one prints and sends to trackers.

    Raises UserError for what several processes cannot do yet.
    """
    if world.size == 1:
        refuse({"offload divides the weights among several processes, and this is one: leave it out": settings.offload})
        return settings
    alone, experience = "start it as one process, without torchrun", settings.experience
    refuse(
        {
            f"an experience of your own needs one process for now: {alone}": experience is not None
            and not isinstance(experience, Sampling),
            "several processes cannot share a model object yet: save it with save_pretrained and give the folder": (
                given.model is not None
            ),
            "several processes train on the CPU only for now: set device cpu": pick_device(settings.device) != "cpu",
        }
    )
    return settings if world.is_main else replace(settings, quiet=True, track=None)


def useless(settings: Settings, world: World, plan: Sized | None = None) -> list[str]:
    """Lines for the terminal where some processes never have a row, and where `--offload` changes nothing.

    `plan` has the rows of the data, and no batch has more of them; None where they are not counted.
    """
    each, most = 1 if settings.experience is None else settings.experience.rows_per_prompt, settings.batch_size
    rows = most if plan is None else min(most, len(plan) * each)
    few = (
        f"warning: {world.size} processes share batches of {rows}, so some have nothing to do: "
        f"{'raise --batch-size' if rows == most else 'give more rows'}, or start fewer"
    )
    there = "warning: --offload changes nothing on a CPU, where all weights are in main memory: leave it out"
    offloads = settings.offload and pick_device(settings.device) == "cpu"
    return [few] * (rows < world.size) + [there] * offloads


def check_models(models: Models, world: World) -> None:
    """Raise UserError for a model whose own loss is not a sum over rows."""
    trained: Any = models.trained().values()
    refuse(
        {
            "a mixture of experts needs one process for now, because its load-balancing loss is not a sum over rows: "
            "start it without torchrun": world.size > 1 and any(model.balance is not None for model in trained)
        }
    )


def check_shard(settings: Settings, world: World) -> None:
    """Raise UserError for a model whose weights cannot be divided among the processes, before it is loaded."""
    if settings.shard == "full" and world.size > 1:
        with world.main_first():
            check_blocks(resolve_model(settings.model), loading_of(settings))


def in_turn(settings: Settings, world: World) -> AbstractContextManager[None]:
    """Where models are loaded: in the main process first, which may download them, but together where each process
    reads its part of the weights."""
    return nullcontext() if settings.shard == "full" else world.main_first()


def divide(models: Models, settings: Settings, world: World) -> None:
    """Divide the weights of the trained models among the processes, where that is asked for. One process keeps all.

    Raises UserError where the trained weights have several dtypes, which neither ZeRO nor FSDP2 takes.
    """
    trained: Any = models.trained().values()
    dtypes = {parameter.dtype for model in trained for parameter in model.parameters().values()}
    asked = settings.shard != "none" and world.size > 1
    refuse(
        {
            f"shard {settings.shard} needs one dtype for all trained weights: set dtype float32": asked
            and len(dtypes) > 1
        }
    )
    if settings.shard == "full" and world.size > 1:
        for model in trained:
            model.divide(world, settings.offload)


def check_config(config: dict[str, Any], world: World) -> None:
    """Raise UserError where another process has another configuration."""
    world.check_same({key: value for key, value in config.items() if key not in HARMLESS})
