"""Learning rates as a function of the step, with the formulas of transformers."""

import math
from collections.abc import Callable

import torch
from transformers import get_scheduler

from burnish.config import Settings

WSD = "warmup_stable_decay"
DECAY = 0.1  # the share of the steps that Hu et al. (2024) found to be enough


def phases(settings: Settings, steps: int) -> tuple[int, int]:
    """The steps of the warm-up, and those of the decay of `warmup_stable_decay` (0 for other schedules)."""
    decay = DECAY if settings.decay is None else settings.decay
    return whole(settings.warmup, steps), whole(decay, steps) if settings.schedule == WSD else 0


def whole(length: float, steps: int) -> int:
    """A number of steps: a share of all of them if below 1."""
    share = length if length >= 1 else length * steps
    return math.ceil(round(share, 6))  # 7 % of 100 steps are 7.000000000000001 in floating point, and 7 in fact


def schedule(optimizer: torch.optim.Optimizer, settings: Settings, steps: int) -> Callable[[int], float]:
    """The learning rate of each step k = 0 … N − 1, as a pure function: peak · (r + (1 − r) · f(k)).

    r is `min_lr_ratio`, W the warm-up's steps and D the decay's. In the warm-up, k < W, the rate is peak · (k + 1) / W,
    so that no update is spent on a rate of 0. After it, with p = (k − W) / (N − W):

    - `constant`: f = 1
    - `linear`: f = 1 − p
    - `cosine`: f = (1 + cos πp) / 2
    - `warmup_stable_decay`: f = 1 until k = N − D, and then, with q = (k − N + D) / D and by `decay_type`, `cosine`:
      f = (1 + cos πq) / 2, `linear`: f = 1 − q, or `1-sqrt`: f = 1 − √q. Its warm-up begins at r: f = (k + 1) / W.

    `cosine` is transformers' `cosine_with_min_lr`. Hu et al. (2024), "MiniCPM", section 4.2, and Hägele et al. (2024),
    "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", for the last two decay types.
    """
    warmup, decay = phases(settings, steps)
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    own = {"num_decay_steps": decay, "decay_type": settings.decay_type or "cosine"} if name == WSD else None
    lengths = {"num_warmup_steps": warmup, "num_training_steps": steps}
    factor = get_scheduler(name, optimizer, **lengths, scheduler_specific_kwargs=own).lr_lambdas[0]
    peak, floor = settings.learning_rate or 0.0, settings.min_lr_ratio

    def rate(step: int) -> float:
        if step < warmup and name != WSD:
            return peak * factor(step + 1)
        return peak * (factor(step + 1 if step < warmup else step) * (1 - floor) + floor)

    return rate
