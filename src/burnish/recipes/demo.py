"""The first main job: a small language model learns film reviews, then what people like, and shows by how much.

base → SFT on people's reviews → DPO on people's comparisons; then every model continues the same held-out prefixes,
a judge that none of them saw scores the texts, and everything is written down with its interval.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
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
from burnish.recipes.models import pick_device, say
from burnish.recipes.stopwatch import Stopwatch
from burnish.recipes.summary import print_table, summarise, to_json
from burnish.recipes.train import prepare_torch, run_training
from burnish.report import demo as page
from burnish.report.figures import save_figure
from burnish.report.theme import series_colours
from burnish.run import UserError, read_mapping, write_atomically
from burnish.training.progress import Progress

JOB, SUMMARY = "demo.json", "summary.json"


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


def demo(
    out: Path,
    base: Settings,
    runs: int = 1,
    plan: Plan = FULL,
    overwrite: bool = False,
    command: str = "burnish.recipes.demo.demo",
) -> dict[str, Any]:
    """Run the job into `out` and return the summary that `summary.json` and `report.html` show.

    With `base.resume` a killed demo goes on where it was; with `overwrite` a finished one is deleted first. Raises
    UserError where `out` holds something else. `command` is what the page says that made it.
    """
    seeds = list(range(base.seed, base.seed + runs))
    take(out, {"plan": asdict(plan), "seeds": seeds}, overwrite, base.resume)
    prepare_torch(base)
    watch = Stopwatch()
    with watch.stage("data and judge"):
        say(base, "fetching the ratings of Hutto & Gilbert (2014) and fitting the gold judge")
        judge = gold_judge()
        prompts = list(builtin.prefixes("held_out", plan.prefixes)["prompt"])
    repetitions = [repeat(out, plan, prompts, base, seed, watch) for seed in seeds]
    with watch.stage("intervals and figure"):
        summary = summarise(plan, prompts, repetitions, judge, [out / f"seed-{seed}" for seed in seeds])
        draw(out, summary)
    summary |= watch.facts() | {"command": command}
    page.demo_page(summary, out / "report.html")
    write_atomically(out / SUMMARY, to_json(summary))
    if not base.quiet:
        print_table(summary)
    return summary


def take(out: Path, job: dict[str, Any], overwrite: bool, resume: bool) -> None:
    """Make `out` the folder of this job, or go on with it there.

    An unfinished demo is resumed where `resume` is given, a finished one deleted where `overwrite` is; nothing but a
    demo is ever deleted. Raises UserError for whatever else is there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose another --out")
    if out.exists() and any(out.iterdir()):
        if not (out / JOB).exists():
            raise UserError(f"{out} exists and holds no demo: choose another --out")
        finished, same = (out / SUMMARY).exists(), read_mapping(out / JOB) == json.loads(json.dumps(job))
        if resume and same and not (finished and overwrite):
            return
        if not overwrite:
            advice = "--overwrite to begin anew" if finished or not same else "--resume to go on with it"
            raise UserError(f"{out} holds {'a' if same else 'another'} demo: use {advice}, or another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / JOB, json.dumps(job, indent=1) + "\n")


def repeat(out: Path, plan: Plan, prompts: list[str], base: Settings, seed: int, watch: Stopwatch) -> Repetition:
    """Train and measure with one seed."""
    folder = out / f"seed-{seed}"
    models = {"base": load_policy(resolve_model("builtin"), pick_device(base.device))}
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
        device=base.device,
        threads=base.threads,
        quiet=base.quiet,
        **options,
    )
    return load_policy(resolve_model(run_training(algorithm, settings)), pick_device(base.device))


def draw(out: Path, summary: dict[str, Any]) -> None:
    """The main figure as PNG and SVG."""
    figure = page.main_figure(summary, series_colours([model["name"] for model in summary["models"]]))
    if figure is not None:
        save_figure(figure, out / "figure")
