"""The common settings: the range of each, and that the object itself refuses what is outside."""

import dataclasses
import re
from typing import Any

import pytest

from burnish.config import Settings
from burnish.config.settings import LARGEST_SEED
from burnish.options import shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"epochs": 0.0}, "epochs must be above 0, not 0.0"),
        ({"epochs": -1.0}, "epochs must be above 0, not -1.0"),
        ({"epochs": float("inf")}, "epochs must be above 0, not inf"),
        ({"seed": -1}, "seed must lie in [0, 4294967295], not -1"),
        ({"seed": 2**32}, "seed must lie in [0, 4294967295], not 4294967296"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"accumulate": 0}, "accumulate must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, not 0.0"),
        ({"learning_rate": -1e-4}, "learning_rate must be above 0, not -0.0001"),
        ({"warmup": -0.1}, "warmup must be at least 0, not -0.1"),
        ({"warmup": float("nan")}, "warmup must be at least 0, not nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, not -0.1"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be at least 0, not -1.0"),
        ({"max_length": 1}, "max_length must be at least 2, not 1"),
        ({"lora_rank": 0}, "lora_rank must be at least 1, not 0"),
        ({"lora_alpha": 0}, "lora_alpha must be at least 1, not 0"),
        ({"lora_dropout": 1.0}, "lora_dropout must lie in [0, 1), not 1.0"),
        ({"lora_dropout": -0.1}, "lora_dropout must lie in [0, 1), not -0.1"),
        ({"eval_every": 0}, "eval_every must be at least 1, not 0"),
        ({"patience": -1}, "patience must be at least 0, not -1"),
        ({"log_every": 0}, "log_every must be at least 1, not 0"),
        ({"neftune": 0.0}, "neftune must be above 0, not 0.0"),
        ({"neftune": -5.0}, "neftune must be above 0, not -5.0"),
        ({"adam_beta1": 1.0}, "adam_beta1 must lie in [0, 1), not 1.0"),
        ({"adam_beta2": -0.1}, "adam_beta2 must lie in [0, 1), not -0.1"),
        ({"adam_epsilon": 0.0}, "adam_epsilon must be above 0, not 0.0"),
        ({"momentum": 1.0}, "momentum must lie in [0, 1), not 1.0"),
        ({"min_lr_ratio": 1.1}, "min_lr_ratio must lie in [0, 1], not 1.1"),
        ({"decay": 0.0}, "decay must be above 0, not 0.0"),
        ({"save_every": -1}, "save_every must be at least 0, not -1"),
        ({"shuffle_buffer": 0}, "shuffle_buffer must be at least 1, not 0"),
        ({"sampler_timeout": 0.0}, "sampler_timeout must be above 0, not 0.0"),
        ({"sampler_bound": -1.0}, "sampler_bound must be above 0, not -1.0"),
        ({"staleness": -1}, "staleness must be at least 0, not -1"),
        ({"staleness": 10**4}, "staleness must be at most 1000, not 10000"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"threads": 1_000_000}, "threads must be at most 1024, not 1000000"),
        ({"lora_rank": 10**7}, "lora_rank must be at most 65536, not 10000000"),
        ({"batch_size": 10**8}, "batch_size must be at most 1000000, not 100000000"),
        ({"steps": 10**30}, f"steps must be at most 1000000000, not {10**30}"),
        ({"epochs": 1e300}, "epochs must be at most 1000000000, not 1e+300"),
    ],
)
def test_a_value_out_of_range_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Settings(**options)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    low: dict[str, Any] = {
        "steps": 1,
        "seed": 0,
        "batch_size": 1,
        "accumulate": 1,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
    }
    low |= {"max_length": 2, "lora_rank": 1, "lora_alpha": 1, "lora_dropout": 0.0, "eval_every": 1, "patience": 0}
    assert Settings(**low, save_every=0, threads=1).max_length == 2
    assert Settings(seed=LARGEST_SEED).seed == 2**32 - 1


def test_the_defaults_are_settings() -> None:
    """None stands for what is filled in later, and is never compared with a bound."""
    found = Settings()
    assert (found.steps, found.epochs, found.learning_rate, found.lora_rank, found.experience) == (None,) * 5
    assert (found.batch_size, found.max_length, found.save_every) == (16, 512, 100)


def test_every_number_has_a_range() -> None:
    """A setting that is a number and may have any value would have to be checked somewhere else."""
    numbers = [f for f in dataclasses.fields(Settings) if f.type in (int, float, int | None, float | None)]
    assert len(numbers) == 31
    assert [f.name for f in numbers if not shown(f)] == []
