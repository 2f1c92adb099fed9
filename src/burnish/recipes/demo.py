"""The first main job: a small language model learns film reviews, then what people like, and shows by how much.

base → SFT on people's reviews → DPO on people's comparisons; then every model continues the same held-out prefixes,
a judge that none of them saw scores the texts, and everything is written down with its interval.
"""

import shutil
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
from burnish.recipes.measure import MAX_LENGTH, Measured, gold_judge, measure, preference_margins
from burnish.recipes.stopwatch import Stopwatch
from burnish.recipes.summary import print_table, summarise, to_json
from burnish.recipes.train import prepare_torch, run_training, say
from burnish.report import demo as page
from burnish.report.figures import save_figure
from burnish.report.theme import series_colours
from burnish.run import UserError, write_atomically
from burnish.training.progress import Progress


@dataclass(frozen=True)
class Plan:
    """How much of everything. The numbers were chosen on the validation split; docs/log.md says how."""

    prefixes: int = 512
    beta: float = 0.1
    sft: dict[str, Any] = field(default_factory=lambda: {"epochs": 1.0, "batch_size": 32, "learning_rate": 1e-4})
    dpo: dict[str, Any] = field(
        default_factory=lambda: {"epochs": 1.0, "batch_size": 32, "learning_rate": 2e-4, "warmup": 0.1}
    )


FULL = Plan()
QUICK = Plan(
    prefixes=64,
    sft={"steps": 30, "batch_size": 16, "learning_rate": 1e-4},
    dpo={"steps": 40, "batch_size": 16, "learning_rate": 2e-4},
)


@dataclass(frozen=True)
class Repetition:
    """What one seed gave: each model's measurements, and DPO's implicit-reward margins on held-out comparisons."""

    measured: dict[str, Measured]
    margins: np.ndarray


def demo(out: Path, base: Settings, runs: int = 1, plan: Plan = FULL, overwrite: bool = False) -> dict[str, Any]:
    """Run the job into `out` and return the summary that `summary.json` and `report.html` show.

    Finished stages in `out` are kept, so a killed demo goes on where it was; `overwrite` starts anew. Raises UserError
    where `out` holds something else.
    """
    clear(out, overwrite, base.resume)
    prepare_torch(base)
    watch = Stopwatch()
    with watch.stage("data and judge"):
        say(base, "fetching the ratings of Hutto & Gilbert (2014) and fitting the gold judge")
        judge = gold_judge()
        prompts = list(builtin.prefixes("held_out", plan.prefixes)["prompt"])
    repetitions = [repeat(out, plan, prompts, base, seed, watch) for seed in range(base.seed, base.seed + runs)]
    with watch.stage("figures and page"):
        summary = summarise(plan, prompts, repetitions, judge, out)
    summary |= watch.facts()
    write(out, summary)
    if not base.quiet:
        print_table(summary)
    return summary


def clear(out: Path, overwrite: bool, resume: bool) -> None:
    """Make way for the demo in `out`. Only a folder that looks like a demo's is ever deleted."""
    if not out.exists() or not any(out.iterdir()) or (resume and (out / "seed-0").exists()):
        return
    if not overwrite:
        raise UserError(f"{out} exists and is not empty: give another --out, --resume to go on, or --overwrite")
    if not any(out.glob("seed-*")):
        raise UserError(
            f"{out} exists and does not look like a demo: --overwrite will not delete it, give another --out"
        )
    shutil.rmtree(out)


def repeat(out: Path, plan: Plan, prompts: list[str], base: Settings, seed: int, watch: Stopwatch) -> Repetition:
    """Train and measure with one seed."""
    folder = out / f"seed-{seed}"
    models = {"base": load_policy(resolve_model("builtin"))}
    with watch.stage("SFT"):
        models["SFT"] = trained(SFT(), "builtin", folder / "sft", plan.sft, base, seed)
    with watch.stage("DPO"):
        models["DPO"] = trained(DPO(beta=plan.beta), folder / "sft", folder / "dpo", plan.dpo, base, seed)
    with watch.stage("sampling and scoring"), Progress("measuring", len(models) + 1, quiet=base.quiet) as progress:
        measured = {
            name: progress.passing(measure(policy, models["SFT"], prompts, seed)) for name, policy in models.items()
        }
        margins = progress.passing(preference_margins(models["DPO"], models["SFT"], "held_out", plan.beta))
    return Repetition(measured, margins)


def trained(
    algorithm: Any, model: str | Path, out: Path, options: dict[str, Any], base: Settings, seed: int
) -> LanguagePolicy:
    """Run one training stage, or find it done, and load its model."""
    settings = Settings(
        model=str(model),
        out=str(out),
        seed=seed,
        resume=True,
        max_length=MAX_LENGTH,
        threads=base.threads,
        quiet=base.quiet,
        **options,
    )
    return load_policy(resolve_model(run_training(algorithm, settings)))


def write(out: Path, summary: dict[str, Any]) -> None:
    """`summary.json`, `report.html`, and the main figure as PNG and SVG."""
    write_atomically(out / "summary.json", to_json(summary))
    page.demo_page(summary, out / "report.html")
    figure = page.main_figure(summary, series_colours([model["name"] for model in summary["models"]]))
    if figure is not None:
        save_figure(figure, out / "figure")
