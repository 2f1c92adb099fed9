"""A run in several processes: what it cannot do yet, and that all processes are alike."""

from dataclasses import replace
from typing import Any

from burnish.config import Settings, refuse
from burnish.experience.language.sampling import Sampling
from burnish.policies.interface import Models
from burnish.recipes.train.given import Given
from burnish.recipes.train.models import pick_device
from burnish.run.records import HARMLESS
from burnish.run.world import World


def of_process(settings: Settings, given: Given, world: World) -> Settings:
    """The settings of one process of a run: only the main one prints and sends to trackers.

    Raises UserError for what several processes cannot do yet.
    """
    if world.size == 1:
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


def idle(settings: Settings, world: World) -> str:
    """A line for the terminal where some processes never have a row; "" if all have one."""
    if settings.batch_size >= world.size:
        return ""
    return (
        f"warning: {world.size} processes share batches of {settings.batch_size}, so some have nothing to do: raise "
        "--batch-size, or start fewer"
    )


def check_models(models: Models, world: World) -> None:
    """Raise UserError for a model whose own loss is not a sum over rows."""
    trained: Any = models.trained().values()
    refuse(
        {
            "a mixture of experts needs one process for now, because its load-balancing loss is not a sum over rows: "
            "start it without torchrun": world.size > 1 and any(model.balance is not None for model in trained)
        }
    )


def check_config(config: dict[str, Any], world: World) -> None:
    """Raise UserError where another process has another configuration."""
    world.check_same({key: value for key, value in config.items() if key not in HARMLESS})
