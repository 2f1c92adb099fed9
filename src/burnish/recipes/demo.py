"""The first main job: a small language model learns film reviews, then what people like, and shows by how much.

base → SFT on people's reviews → DPO on people's comparisons; then every model continues the same held-out prefixes,
a judge that none of them saw scores the texts, and everything is written down with its interval.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish.algorithms.dpo import DPO
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.data import builtin
from burnish.policies.language import LanguagePolicy, load_policy
from burnish.recipes.assets import resolve_model
from burnish.recipes.measure import Measured, measure, preference_margins
from burnish.recipes.train import run_training, say

MODELS = ("base", "SFT", "DPO")


@dataclass(frozen=True)
class Plan:
    """How much of everything. The numbers were chosen on the validation split; see docs/log.md."""

    prefixes: int = 512
    sft: dict[str, Any] = field(default_factory=lambda: {"epochs": 1.0, "batch_size": 32, "learning_rate": 1e-4})
    dpo: dict[str, Any] = field(default_factory=lambda: {"epochs": 1.0, "batch_size": 32, "learning_rate": 5e-5})
    beta: float = 0.1


FULL = Plan()
QUICK = Plan(prefixes=64, sft=FULL.sft | {"epochs": None, "steps": 30}, dpo=FULL.dpo | {"epochs": None, "steps": 40})


class Stopwatch:
    """Seconds of each stage, in the order in which they began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


@dataclass(frozen=True)
class Repetition:
    """What one seed gave: every model's measurements, and DPO's implicit-reward margins on held-out comparisons."""

    measured: dict[str, Measured]
    margins: np.ndarray


def run_demo(out: Path, runs: int, plan: Plan, base: Settings, watch: Stopwatch) -> tuple[list[str], list[Repetition]]:
    """Train and measure, `runs` times over seeds; returns the prefixes and what each seed gave."""
    prompts = list(builtin.prefixes("held_out", plan.prefixes)["prompt"])
    repetitions = []
    for seed in range(base.seed, base.seed + runs):
        folder = out / f"seed-{seed}"
        say(base, f"seed {seed}")
        models = {"base": load_policy(resolve_model("builtin"))}
        with watch.stage("SFT"):
            models["SFT"] = trained(SFT(), "builtin", folder / "sft", plan.sft, base, seed)
        with watch.stage("DPO"):
            models["DPO"] = trained(DPO(beta=plan.beta), folder / "sft", folder / "dpo", plan.dpo, base, seed)
        with watch.stage("sampling and scoring"):
            measured = {name: measure(policy, models["SFT"], prompts, seed) for name, policy in models.items()}
            margins = preference_margins(models["DPO"], models["SFT"], "held_out", plan.beta)
        repetitions.append(Repetition(measured, margins))
    return prompts, repetitions


def trained(
    algorithm: Any, model: str | Path, out: Path, options: dict[str, Any], base: Settings, seed: int
) -> LanguagePolicy:
    """Run one training stage, or find it done, and load its model."""
    settings = Settings(
        model=str(model), out=str(out), seed=seed, resume=True, quiet=base.quiet, max_length=128, **options
    )
    return load_policy(resolve_model(run_training(algorithm, settings)))
