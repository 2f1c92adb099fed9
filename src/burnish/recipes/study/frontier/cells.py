"""The study's cells: the start with its labelled pairs, a reward model per seed, and the settings of the methods."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.algorithms.table import load
from burnish.config import build
from burnish.evaluation.reward_models import score_texts
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.study.best import best_point
from burnish.recipes.study.cell import SHARED, Found
from burnish.recipes.study.frontier.plan import METHODS, Plan, name_of, options_of
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.labels import Pair, comparisons, demonstrations, feedback
from burnish.recipes.study.measure import completions_of, parts_of
from burnish.recipes.study.start import (
    HELD_SEED,
    POOL_SEED,
    START,
    begun,
    held_out,
    imitated,
    pairs_of,
    prefixes,
    rewarded,
    ruler_of,
    start_of,
)
from burnish.recipes.study.watch import Watch, watched
from burnish.rewards.builtin import TextReward

REWARD, MODEL = "reward", "reward model"
"""A cell's file, and what readers are told that it is."""


@dataclass(frozen=True)
class Cell:
    """The start and its pairs; with a `seed` the reward model, or, with a `method`, a setting of it."""

    seed: int | None = None
    method: str | None = None
    value: float | None = None

    @property
    def name(self) -> str:
        if self.seed is None:
            return START
        return f"seed-{self.seed}/" + (REWARD if self.method is None else self.setting)

    @property
    def setting(self) -> str:
        return f"{self.method}" if self.value is None else f"{self.method}-{self.value:g}"

    @property
    def label(self) -> str:
        if self.seed is None:
            return "the start and its pairs"
        what = MODEL if self.method is None else name_of(self.method, self.value)
        return f"seed {self.seed}, {what}"


@dataclass(frozen=True)
class Frontier:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        if cell.seed is None:
            return started(self.plan, out, work)
        if cell.method is None:
            return trained(self.plan, cell.seed, out, work)
        return (pooled if METHODS[cell.method].feed == "pool" else learned)(cell, self.plan, out, work)

    def is_whole(self, cell: Cell, found: Found) -> bool:
        return isinstance(found.get("points"), list) and found.get("value") == cell.value

    def line(self, cell: Cell, found: Found) -> str:
        if not found["points"]:
            return "no measurement"
        last = found["points"][-1]
        said = f"gold {np.mean(last['gold']):.2f} at {np.mean(last['kl']):.2f} nats"
        return said if found.get("diverged") is None else f"{said}, diverged at step {found['diverged']}"


def started(plan: Plan, out: Path, work: Path) -> Found:
    """Train the start, let it complete prefixes, and label every two completions of each: of training prefixes for the
    methods, of held-out ones to measure."""
    began = time.process_time()
    model, prompts = imitated(plan, work), prefixes(plan)
    policy = load_policy(model, "cpu")
    pairs, tokens = pairs_of(policy, prompts, plan.completions, 0, plan)
    held, _ = pairs_of(policy, held_out(plan), 2, HELD_SEED, plan)
    rows: dict[str, list[Pair]] = {
        "pairs": comparisons(pairs),
        "feedback": feedback(pairs),
        "chosen": demonstrations(pairs),
        "prompts": [{"prompt": one} for one in prompts],
        "held": held[: plan.held_pairs],
    }
    begun(model, rows, out)
    agreed = float(np.mean([one["right"] for one in pairs]))
    seconds = time.process_time() - began
    return {"points": [], "pairs": len(pairs), "agreed": agreed, "sampled": tokens, "seconds": seconds}


def trained(plan: Plan, seed: int, out: Path, work: Path) -> Found:
    """Train a reward model on the pairs, and measure the start with the seed's streams. Where the model diverges, the
    start is measured all the same."""
    spent = rewarded(plan, out / START / "pairs.jsonl", plan.reward_steps, seed, out, work, reward_of(seed, out))
    ruler = ruler_of(plan, seed, out)
    return {"points": [{"step": 0} | ruler.measured(ruler.start)]} | spent


def reward_of(seed: int, out: Path) -> Path:
    """The folder of a seed's reward model."""
    return out / "rewards" / f"seed-{seed}"


def pooled(cell: Cell, plan: Plan, out: Path, work: Path) -> Found:
    """The best of n by the reward model, for every n of the grid, from one pool of samples."""
    assert cell.seed is not None
    began, clock = time.process_time(), time.perf_counter()
    sizes = [int(n) for n in plan.grid["best_of_n"]]
    prompts, most = held_out(plan), max(sizes)
    drawn = completions_of(start_of(out), prompts, most, POOL_SEED + cell.seed, plan.max_new_tokens, plan.max_length)
    proxy = score_texts(load_scorer(reward_of(cell.seed, out), "cpu"), parts_of(drawn.batch)).reshape(-1, most)
    gold = study_judge().score(drawn.texts).reshape(-1, most)
    points = [best_point(n, drawn, proxy, gold) for n in sizes]
    spent = {"seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
    return {"points": points, "sampled": int(drawn.length.sum()), "learned": 0, "diverged": None} | spent


def learned(cell: Cell, plan: Plan, out: Path, work: Path) -> Found:
    """Train a setting from the start, measured as it goes. Where it diverges, what was measured before is kept."""
    assert cell.method is not None
    assert cell.value is not None
    assert cell.seed is not None
    method = METHODS[cell.method]
    options = SHARED | options_of(plan, cell.method, cell.value, cell.seed)
    options |= {"out": str(work / "run"), "model": str(out / START / "model")}
    data = {"reward": "prompts", "gold": "prompts"}.get(method.feed, method.feed)
    options["data"] = str(out / START / f"{data}.jsonl")
    if method.feed == "reward":
        options["reward"] = str(reward_of(cell.seed, out))
    elif method.feed == "gold":
        options["reward"] = TextReward("gold", study_judge().score)
    each = plan.rollout if method.feed in ("reward", "gold") else 0
    watch = Watch(ruler_of(plan, cell.seed, out), plan.eval_every, each)
    return watched(watch, *build(load(method.algorithm), options))
