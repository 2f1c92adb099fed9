"""What overflowed where a run of control cannot go on, in words."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from burnish.algorithms.terms import Loss
from burnish.batches import Prepared, Replayed

NAMES = {"old_values": "the critic's values", "returns": "the returns", "advantages": "the advantages"}
LARGE_REWARD = 1e3


def overflow(run: int, loss: Loss, part: Any, thetas: Mapping[str, Tensor], last: str) -> str:
    """Why the run at position `run` has a gradient that is not finite: the first number on the way to it that is not.

    `thetas` are the weights of the models, `[R, n]`, and `last` is what overflows if nothing before it does.
    """
    dtype = str(next(iter(thetas.values())).dtype).removeprefix("torch.")
    batch = part.batch if isinstance(part, Prepared) else part
    largest = batch.rewards[run][batch.mask[run]].abs().max().item()
    advice = "lower the learning rate"
    if largest > LARGE_REWARD:
        help = "" if isinstance(batch, Replayed) else "set normalise_rewards, or "
        advice = (
            f"rewards are as large as {largest:g}: {help}divide them in the environment "
            "(gymnasium.wrappers.TransformReward)"
        )
    for name, theta in thetas.items():
        if not torch.isfinite(theta[run]).all():
            return f"the {name}'s weights overflow {dtype}: lower the learning rate"
    real = part.mask[run]
    for field in fields(part):
        value = getattr(part, field.name) if field.name in NAMES else None
        if value is not None and not torch.isfinite(value[run][real]).all():
            return f"{NAMES[field.name]} overflow {dtype}: {advice}"
    for name, term in loss.terms.items():
        if not torch.isfinite(term.losses[run][term.mask[run]]).all():
            return f"the loss of the {name} overflows {dtype}: {advice}"
    return f"{last} overflows {dtype}: {advice}"
