"""Learning rates: by hand, and at every step those of transformers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from loop_pieces import settings

from burnish.training.language.schedule import phases, schedule


def plain() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)


def rates(steps: int, **options: Any) -> list[float]:
    rate = schedule(plain(), settings(learning_rate=2.0, **options), steps)
    return [rate(step) for step in range(steps)]


def test_learning_rates_by_hand() -> None:
    """A peak of 2. The warm-up of n steps goes 1/n … n/n; then from 1 down, never spending a step on rate 0."""
    assert rates(4, schedule="constant") == [2.0] * 4
    assert rates(4, schedule="linear") == pytest.approx([2.0, 1.5, 1.0, 0.5])
    assert rates(4, schedule="cosine") == pytest.approx([1 + math.cos(math.pi * k / 4) for k in range(4)])
    assert rates(5, schedule="constant", warmup=2.0) == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0])
    assert rates(6, schedule="linear", warmup=2.0) == pytest.approx([1.0, 2.0, 2.0, 1.5, 1.0, 0.5])
    falling = [1 + math.cos(math.pi * k / 4) for k in range(4)]
    assert rates(6, schedule="cosine", warmup=2.0) == pytest.approx([1.0, 2.0, *falling])


@pytest.mark.parametrize(
    ("warmup", "steps", "length"),
    [(0.25, 10, 3), (0.3, 10, 3), (0.07, 100, 7), (1.0, 10, 1), (2.5, 10, 3), (0.01, 10, 1)],
)
def test_a_warm_up_is_a_share_below_1_and_rises_evenly(warmup: float, steps: int, length: int) -> None:
    found = rates(steps, schedule="constant", warmup=warmup)
    assert found[:length] == pytest.approx([2 * (k + 1) / length for k in range(length)])
    assert found[length:] == [2.0] * (steps - length)


def test_rates_with_a_floor_and_a_decay_by_hand() -> None:
    """A peak of 2 and a floor of a quarter of it, 0.5: a linear fall from 2 to 0.5 in 3 steps takes 0.5 a step. The
    warm-up of warmup_stable_decay begins at the floor: 2 steps from 0.5 to 2."""
    assert rates(3, schedule="linear", min_lr_ratio=0.25) == pytest.approx([2.0, 1.5, 1.0])
    assert rates(5, schedule="linear", warmup=2.0, min_lr_ratio=0.25) == pytest.approx([1.0, 2.0, 2.0, 1.5, 1.0])
    assert rates(2, schedule="cosine", min_lr_ratio=0.25) == pytest.approx([2.0, 1.25])
    stable = {"schedule": "warmup_stable_decay", "warmup": 2.0, "decay": 3.0, "min_lr_ratio": 0.25}
    assert rates(7, **stable, decay_type="linear") == pytest.approx([1.25, 2.0, 2.0, 2.0, 2.0, 1.5, 1.0])
    assert rates(7, **stable)[4:] == pytest.approx([2.0, 1.625, 0.875])  # cosines of 0, 60 and 120 degrees
    falling = [2.0, 2 - 1.5 * math.sqrt(1 / 3), 2 - 1.5 * math.sqrt(2 / 3)]
    assert rates(7, **stable, decay_type="1-sqrt")[4:] == pytest.approx(falling)
    assert rates(10, schedule="warmup_stable_decay")[-2:] == [2.0, 2.0]  # the decay of one step begins at the peak


@pytest.mark.parametrize(("decay", "steps", "length"), [(None, 100, 10), (0.07, 100, 7), (5.0, 100, 5), (0.01, 10, 1)])
def test_the_length_of_a_decay_is_a_share_below_1(decay: float | None, steps: int, length: int) -> None:
    assert phases(settings(schedule="warmup_stable_decay", decay=decay, warmup=3.0), steps) == (3, length)
    assert phases(settings(), steps) == (0, 0)


Library = Callable[[torch.optim.Optimizer, int, int], Any]  # of the warm-up's steps and all steps
THEIRS: dict[str, tuple[dict[str, Any], Library]] = {
    "cosine with a floor": (
        {"schedule": "cosine", "min_lr_ratio": 0.1},
        lambda optimizer, warmup, steps: transformers.get_scheduler(
            "cosine_with_min_lr", optimizer, warmup, steps, {"min_lr_rate": 0.1}
        ),
    ),
    "cosine": ({"schedule": "cosine"}, transformers.get_cosine_schedule_with_warmup),
    "linear": ({"schedule": "linear"}, transformers.get_linear_schedule_with_warmup),
} | {
    f"stable and {kind}": (
        {"schedule": "warmup_stable_decay", "decay": 6.0, "decay_type": kind, "min_lr_ratio": 0.1},
        lambda optimizer, warmup, steps, kind=kind: transformers.get_wsd_schedule(  # type: ignore[misc]
            optimizer, warmup, 6, steps, decay_type=kind, min_lr_ratio=0.1
        ),
    )
    for kind in ("cosine", "linear", "1-sqrt")
}


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("name", THEIRS)
def test_every_step_has_the_rate_of_transformers(name: str, warmup: int) -> None:
    """Theirs begins a warm-up at its lowest rate; ours is one step ahead there, and the same from then on."""
    options, library = THEIRS[name]
    optimizer, steps, found = plain(), 23, []
    scheduler = library(optimizer, warmup, steps)
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = found[1 : warmup + 1] + found[warmup:]
    assert rates(steps, warmup=float(warmup), **options) == pytest.approx(expected, rel=1e-12)
