"""`burnish evaluate RUN`: what a finished run learned, on data that it did not train on."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from burnish.config import Settings, build
from burnish.data import builtin
from burnish.data.walk import in_order
from burnish.evaluation.preferences import accuracy_scores, implicit_margins
from burnish.evaluation.statistics import bootstrap_interval
from burnish.policies.interface import Models
from burnish.policies.language import LanguagePolicy, load_policy
from burnish.policies.reference import weights_hash
from burnish.recipes.assets import resolve_model
from burnish.recipes.measure import Measured, measure
from burnish.recipes.models import pick_device, say
from burnish.recipes.rows import tokenised
from burnish.recipes.train import prepare_torch
from burnish.recipes.turns import evaluator_of
from burnish.run import UserError, read_mapping, write_atomically


def evaluate_run(run: Path, data: str | None, prefixes: int | None, base: Settings) -> dict[str, Any]:
    """Evaluate the model of `run` and write `evaluation.json` (and `samples.jsonl`) there.

    On `data`, or on the run's own `eval_data`, or on the built-in held-out part where it learned from built-in data:
    the method's loss and metrics, a preference method's accuracy with its interval. On the built-in held-out part also
    the gold score, KL to the model that it began as, and diversity of continuations of `prefixes` (default 256).
    """
    if not (run / "model").exists():
        raise UserError(f"{run} has no finished model: give the folder of a finished run, as `burnish sft` leaves it")
    algorithm, settings = build_from(run)
    data = data or settings.eval_data or ("builtin" if settings.data == "builtin" else None)
    if data is None:
        raise UserError(
            f"{run} was trained on {settings.data} without --eval-data: say with --data what to evaluate on"
        )
    if data != "builtin" and prefixes:
        raise UserError("--prefixes are of the built-in held-out reviews: leave it out, or leave --data out")
    count = 256 if prefixes is None else prefixes
    prompts = builtin.prefixes("held_out")["prompt"][:count] if data == "builtin" else []
    if len(prompts) < count and data == "builtin":
        raise UserError(f"--prefixes {count}: there are {len(prompts)} held-out prefixes")
    prepare_torch(base)
    device = pick_device(base.device)
    policy, start = load_policy(run / "model", device), load_policy(resolve_model(settings.model), device)
    if weights_hash(start.model) != read_mapping(run / "environment.json")["model_sha256"]:
        raise UserError(f"{settings.model} is not what {run} began from: its weights have changed; restore them")
    rows = tokenised(algorithm, settings, policy, data, "held_out")
    say(base, rows.describe())
    found: dict[str, Any] = {"run": str(run), "data": data, "rows": len(rows)}
    found |= evaluator_of(algorithm, Models(policy, reference=start), rows)()
    if rows.comparisons:
        scores = accuracy_scores(implicit_margins(policy, start, in_order(rows, 64), algorithm.beta))
        found["accuracy"] = bootstrap_interval(scores).as_dict()
    else:
        found["perplexity"] = float(np.exp(found["loss"]))
    if prompts:
        found |= continuations(run, policy, start, list(prompts), base.seed)
    write_atomically(run / "evaluation.json", json.dumps(found, indent=2) + "\n")
    return found


def build_from(run: Path) -> tuple[Any, Settings]:
    """The algorithm and settings of a run folder."""
    config = read_mapping(run / "config.yaml")
    return build(config["algorithm"], config)


def continuations(
    run: Path, policy: LanguagePolicy, start: LanguagePolicy, prompts: list[str], seed: int
) -> dict[str, Any]:
    """Gold score, KL and diversity of continuations of `prompts`; the texts go to `samples.jsonl`."""
    measured = measure(policy, start, prompts, seed)
    write_atomically(run / "samples.jsonl", sample_lines(measured))
    return {
        "prefixes": len(prompts),
        "gold": bootstrap_interval(measured.gold).as_dict(),
        "kl": bootstrap_interval(measured.kl).as_dict(),
        "words": float(measured.words.mean()),
        "distinct_2": measured.distinct_2,
        "eos_rate": measured.eos_rate,
    }


def sample_lines(measured: Measured) -> str:
    """One JSON line a continuation."""
    found = measured.continuations
    lines = [
        {"prompt": prompt, "text": text, "gold": round(float(gold), 4), "ended": ended}
        for prompt, text, gold, ended in zip(found.prompts, found.texts, measured.gold, found.ended, strict=True)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
