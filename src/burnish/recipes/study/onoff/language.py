"""Trainings of a language model: RLOO on late completions, and the weights between its policies."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from burnish.algorithms.table import load
from burnish.batches import Demonstrations
from burnish.config import build
from burnish.data import builtin
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes.study.cell import SHARED, Found
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.measure import completions_of
from burnish.recipes.study.onoff.control import MEASURING_SEED, Watch
from burnish.recipes.study.onoff.plan import LANGUAGE, OF_LANGUAGE, Plan
from burnish.recipes.study.watch import diverged_at
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.rewards.builtin import TextReward
from burnish.run import UserError, write_atomically


def prompts(plan: Plan) -> list[str]:
    """The prefixes that completions are learned from."""
    return list(builtin.prefixes("train", plan.prefixes)["prompt"])


def held_out(plan: Plan) -> list[str]:
    return list(builtin.prefixes("held_out", plan.held_out)["prompt"])


def late_completions(plan: Plan, run: int, lag: int, correction: str, work: Path) -> Found:
    """Train RLOO on completions of `lag` turns before; `value` is the mean gold score of held-out completions after it.

    A training whose numbers are not finite has `failed`, the reason, and no `value`.
    """
    began, failed, value = time.process_time(), None, None
    try:
        run_training(*build(load("rloo"), options_of(plan, run, work, lag, correction)))
        policy = load_policy(work / "run" / "model", "cpu")
        drawn = completions_of(policy, held_out(plan), 1, MEASURING_SEED, plan.max_new_tokens, plan.max_length)
        value = float(np.mean(study_judge().score(drawn.texts)))
    except UserError as error:
        if diverged_at(error, 0) is None:
            raise
        failed = str(error)
    return {"value": value, "failed": failed, "seconds": round(time.process_time() - began, 3)}


def options_of(plan: Plan, run: int, work: Path, lag: int = 0, correction: str = "none") -> dict[str, Any]:
    """The options of a training, whose turns have one update each."""
    data = work / "prompts.jsonl"
    lines = [json.dumps({"prompt": one}, ensure_ascii=False) for one in prompts(plan)]
    write_atomically(data, "\n".join(lines) + "\n")
    return (
        SHARED
        | {
            "out": str(work / "run"),
            "model": plan.model,
            "data": str(data),
            "reward": TextReward("gold", study_judge().score),
            "seed": run,
            "steps": plan.updates,
            "batch_size": plan.texts,
            "completions_per_prompt": plan.group,
            "beta": 0.0,
            "learning_rate": plan.learning_rate,
            "max_new_tokens": plan.max_new_tokens,
            "max_length": plan.max_length,
            "save_every": 0,
            "keep_samples": 0,
            "staleness": lag,
        }
        | dict(OF_LANGUAGE)[correction]  # type: ignore[index]
    )


def weights_of_completions(plan: Plan, run: int, work: Path) -> Found:
    """Train as `late_completions` does without a lag, and measure the weights between its policies on the way."""
    draw = partial(drawn, plan=plan, run=run)
    watch = Watch(plan.language_anchors, plan.lags, plan.counts_of(LANGUAGE), draw)
    trained: list[LanguagePolicy] = []

    def begin(models: Models) -> None:
        trained.append(models.main)
        watch.look(models.main, 0)

    def step(number: int, metrics: Found) -> None:
        watch.look(trained[0], number)

    given = Given(on_step=step)
    run_training(*build(load("rloo"), options_of(plan, run, work)), given, begin)
    return {"rows": watch.rows}


def drawn(policy: LanguagePolicy, turn: int, plan: Plan, run: int) -> Demonstrations:
    """Completions of held-out prefixes by the policy as it is, as many of each as give `episodes` of them."""
    texts = held_out(plan)
    each = -(-plan.episodes // len(texts))
    seed = MEASURING_SEED + 1000 * turn + run
    found = completions_of(policy, texts, each, seed, plan.max_new_tokens, plan.max_length)
    return found.batch.select(slice(0, plan.episodes))
