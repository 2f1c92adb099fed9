"""Commands that do not train, in several processes."""

from dataclasses import replace
from typing import Any

from burnish.config import Settings, refuse
from burnish.experience.language.sampling import Sampling
from burnish.recipes.train.models import pick_device
from burnish.run.world import World, joined


def together(base: Settings, experience: Any = None) -> tuple[World, Settings]:
    """The processes that share the command, and the settings of this one: only the main one prints.

    Raises UserError on a GPU, and for an experience from outside Burnish.
    """
    world, owned = joined(), experience is not None and not isinstance(experience, Sampling)
    if world.size > 1:
        alone = "start it as one process, without torchrun"
        refuse(
            {
                "several processes run on the CPU only for now: set device cpu": pick_device(base.device) != "cpu",
                f"an experience of your own needs one process for now: {alone}": owned,
            }
        )
    return world, base if world.is_main else replace(base, quiet=True)
