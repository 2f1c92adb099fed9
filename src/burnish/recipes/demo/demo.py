"""The built-in study: a small language model learns film reviews, then people's preferences, measured with intervals.

base → SFT on reviews, and then four ways to learn preferences: DPO on human comparisons; a reward model trained on the
same comparisons, and PPO on it; DPO on samples labelled by the reward model; the best of n samples by it. Every model
continues the same held-out prefixes, and a judge that none of them saw scores the texts.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.algorithms.dpo import DPO
from burnish.algorithms.table import load
from burnish.config import Settings, build
from burnish.data import builtin
from burnish.policies.language.policy import load_policy
from burnish.policies.language.precision import resolved
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.demo.measure import (
    MAX_LENGTH,
    MAX_NEW_TOKENS,
    Measured,
    measure,
    preference_margins,
    reward_margins,
)
from burnish.recipes.demo.rlhf import best_of, climb, sampled_pairs, with_proxy
from burnish.recipes.demo.stopwatch import Stopwatch
from burnish.recipes.demo.summary import print_table, summarise, to_json
from burnish.recipes.gold import gold_judge
from burnish.recipes.train.models import pick_device, say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.run import run_training
from burnish.report.figures import save_figure
from burnish.report.language import demo as page
from burnish.report.theme import series_colours
from burnish.run import (
    UserError,
    make_folder,
    read_mapping,
    remove_folder_atomically,
    writable_folder,
    write_atomically,
)
from burnish.training.progress import Progress

JOB, SUMMARY = "demo.json", "summary.json"
STAGES = {"base": "", "SFT": "sft", "DPO": "dpo", "PPO": "ppo", "DPO on samples": "dpo-samples"}
"""The models that continue prefixes, and the run folders that they come from."""


@dataclass(frozen=True)
class Plan:
    """Sizes and hyperparameters. They were chosen on the validation split; docs/log.md says how."""

    prefixes: int = 512
    sft: dict[str, Any] = field(default_factory=lambda: {"epochs": 1.0, "batch_size": 32, "learning_rate": 1e-4})
    dpo: dict[str, Any] = field(
        default_factory=lambda: {
            "beta": 0.1,
            "epochs": 1.0,
            "batch_size": 32,
            "learning_rate": 1e-4,
            "warmup": 0.1,
        }
    )
    reward: dict[str, Any] = field(
        default_factory=lambda: {"epochs": 1.0, "batch_size": 32, "learning_rate": 3e-4, "warmup": 0.1}
    )
    ppo: dict[str, Any] = field(
        default_factory=lambda: {
            "steps": 120,
            "batch_size": 64,
            "rollout": 128,
            "update_epochs": 2,
            "learning_rate": 1e-4,
            "beta": 0.1,
        }
    )
    pairs: int = 1500
    best_of: tuple[int, ...] = (4, 16)


FULL = Plan()
QUICK = Plan(
    prefixes=48,
    sft={"steps": 20, "batch_size": 16, "learning_rate": 1e-4},
    dpo={"beta": 0.1, "steps": 20, "batch_size": 16, "learning_rate": 2e-4},
    reward={"steps": 30, "batch_size": 16, "learning_rate": 2e-4},
    ppo={"steps": 16, "batch_size": 32, "rollout": 32, "update_epochs": 2, "learning_rate": 1e-4, "beta": 0.05},
    pairs=64,
    best_of=(4,),
)


@dataclass(frozen=True)
class Repetition:
    """The results of one seed: each model's measurements, the margins of DPO's implicit reward and of the reward model
    on held-out comparisons, and the scores of PPO's rollouts."""

    measured: dict[str, Measured]
    margins: dict[str, np.ndarray]
    climb: list[dict[str, Any]]


def demo(
    out: Path,
    base: Settings,
    runs: int = 1,
    plan: Plan = FULL,
    overwrite: bool = False,
    command: str = "burnish.recipes.demo.demo.demo",
) -> dict[str, Any]:
    """Run the demo into `out` and return the summary that `summary.json` and `report.html` show.

    With `base.resume` a killed demo continues; with `overwrite` a finished one is deleted first. Raises UserError where
    `out` contains something else. `command` is shown on the page.
    """
    seeds = list(range(base.seed, base.seed + runs))
    take(out, {"plan": asdict(plan), "seeds": seeds, "precision": base.precision}, overwrite, base.resume)
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
    summary |= watch.facts() | {"command": command, "notes": notes(base.precision, pick_device(base.device))}
    page.demo_page(summary, out / "report.html")
    write_atomically(out / SUMMARY, to_json(summary))
    if not base.quiet:
        print_table(summary)
    return summary


def take(out: Path, job: dict[str, Any], overwrite: bool, resume: bool) -> None:
    """Make `out` the folder of this job, or continue the job there.

    An unfinished demo is resumed where `resume` is given, a finished one deleted where `overwrite` is; only a
    demo is ever deleted. Raises UserError for anything else.
    """
    writable_folder(out)
    if any(out.iterdir()):
        if not (out / JOB).exists():
            raise UserError(f"{out} exists and does not contain a demo: choose another --out")
        finished, same = (out / SUMMARY).exists(), read_mapping(out / JOB) == json.loads(json.dumps(job))
        if resume and same and not (finished and overwrite):
            return
        if not overwrite:
            advice = "--overwrite to start over" if finished or not same else "--resume to continue it"
            raise UserError(f"{out} holds {'a' if same else 'another'} demo: use {advice}, or another --out")
        remove_folder_atomically(out)
    make_folder(out)
    write_atomically(out / JOB, json.dumps(job, indent=1) + "\n")


def repeat(out: Path, plan: Plan, prompts: list[str], base: Settings, seed: int, watch: Stopwatch) -> Repetition:
    """Train and measure with one seed."""
    folder, base = out / f"seed-{seed}", replace(base, seed=seed)
    sft, rm = folder / "sft", folder / "reward"
    with watch.stage("SFT"):
        trained("sft", "builtin", sft, plan.sft, base)
    with watch.stage("DPO"):
        trained("dpo", sft, folder / "dpo", plan.dpo, base)
    with watch.stage("reward model"):
        trained("reward", sft, rm, plan.reward, base)
    with watch.stage("PPO"):
        online = {"reward": str(rm), "max_new_tokens": MAX_NEW_TOKENS, "keep_samples": plan.ppo["rollout"]}
        trained("ppo", sft, folder / "ppo", plan.ppo | online, base)
    device = pick_device(base.device)
    start, scorer = load_policy(resolve_model(sft), device), load_scorer(resolve_model(rm), device)
    with watch.stage("DPO on samples"):
        pairs = sampled_pairs(start, scorer, plan.pairs, folder / "pairs.jsonl", base)
        trained("dpo", sft, folder / "dpo-samples", plan.dpo | {"data": str(pairs)}, base)
    with watch.stage("best of n"):
        picked = best_of(start, scorer, prompts, plan.best_of, base)
    with watch.stage("sampling and scoring"), Progress("measuring", len(STAGES) + 2, quiet=base.quiet) as progress:
        measured = {}
        for name, place in STAGES.items():
            policy = load_policy(resolve_model(folder / place if place else "builtin"), device)
            measured[name] = progress.passing(with_proxy(measure(policy, start, prompts, seed), scorer))
        dpo = load_policy(resolve_model(folder / "dpo"), device)
        margins = {
            "DPO": progress.passing(preference_margins(dpo, start, "held_out", plan.dpo.get("beta", DPO.beta))),
            "reward model": progress.passing(reward_margins(scorer, "held_out")),
        }
    return Repetition(measured | picked, margins, climb(folder / "ppo"))


def trained(name: str, model: str | Path, out: Path, options: dict[str, Any], base: Settings) -> None:
    """Run one training stage, unless it is done."""
    common = {"model": str(model), "out": str(out), "resume": True, "max_length": MAX_LENGTH}
    machine = {key: getattr(base, key) for key in ("seed", "precision", "device", "threads", "quiet")}
    run_training(*build(load(name), common | machine | options))


def notes(precision: str, device: str) -> list[str]:
    """What the page says of the precision: nothing where it is float32, the same on every machine."""
    computed = resolved(precision, device)
    return [] if computed == "float32" else [f"Trained in {computed}; what is measured is computed in float32."]


def draw(out: Path, summary: dict[str, Any]) -> None:
    """The main figure as PNG and SVG."""
    figure = page.main_figure(summary, series_colours([model["name"] for model in summary["models"]]))
    if figure is not None:
        save_figure(figure, out / "figure")
