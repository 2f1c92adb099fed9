"""The study's cells: the start with its labelled pairs, a reward model per seed, and the settings of the methods."""

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import builtin
from burnish.evaluation.best_of_n import best, best_of_n_kl, expected_best
from burnish.evaluation.reward_models import score_texts
from burnish.evaluation.text import distinct_n
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.policies.language.slots import NotFiniteError
from burnish.recipes.study.cell import SHARED, Found
from burnish.recipes.study.frontier.judge import study_judge
from burnish.recipes.study.frontier.labels import Pair, comparisons, demonstrations, feedback, labelled
from burnish.recipes.study.frontier.measure import Completions, DivergedError, Ruler, completions_of, parts_of, rounded
from burnish.recipes.study.frontier.plan import METHODS, Plan, name_of, options_of
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.rewards.builtin import TextReward
from burnish.run import UserError, read_jsonl, save_folder_atomically, write_atomically
from burnish.training.step import NonFiniteLossError

START, REWARD = "start", "reward"
HELD_SEED, POOL_SEED = 1_000, 2_000
"""Of the completions that held-out pairs are made of, and (more the study's seed) of the pools of best of n."""


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
        what = "reward model" if self.method is None else name_of(self.method, self.value)
        return f"seed {self.seed}, {what}"


@dataclass(frozen=True)
class Frontier:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        if cell.seed is None:
            return started(self.plan, out, work)
        if cell.method is None:
            return rewarded(self.plan, cell.seed, out, work)
        return (pooled if METHODS[cell.method].feed == "pool" else learned)(cell, self.plan, out, work)

    def is_whole(self, cell: Cell, found: Found) -> bool:
        return isinstance(found.get("points"), list) and found.get("value") == cell.value

    def line(self, cell: Cell, found: Found) -> str:
        if not found["points"]:
            return "no measurement"
        last = found["points"][-1]
        said = f"gold {np.mean(last['gold']):.2f} at {np.mean(last['kl']):.2f} nats"
        return said if found.get("diverged") is None else f"{said}, diverged at step {found['diverged']}"


def prefixes(plan: Plan) -> list[str]:
    """The first prefixes of reviews whose ratings the judge was not fitted on."""
    ids = set(builtin.rated("preferences")["id"])
    rows = builtin.prefixes("train")
    return [text for text, one in zip(rows["prompt"], rows["id"], strict=True) if one in ids][: plan.prefixes]


def held_out(plan: Plan) -> list[str]:
    return list(builtin.prefixes("held_out", plan.held_out)["prompt"])


def started(plan: Plan, out: Path, work: Path) -> Found:
    """Train the start, let it complete prefixes, and label every two completions of each: of training prefixes for the
    methods, of held-out ones to measure."""
    began = time.process_time()
    options = SHARED | {
        "out": str(work / "sft"),
        "model": plan.model,
        "steps": plan.sft_steps,
        "batch_size": 32,
        "learning_rate": plan.learning_rate,
        "max_length": plan.max_length,
        "save_every": 0,
    }
    run_training(*build(load("sft"), options))
    policy = load_policy(work / "sft" / "model", "cpu")
    pairs, tokens = pairs_of(policy, prefixes(plan), plan.completions, 0, plan)
    held, _ = pairs_of(policy, held_out(plan), 2, HELD_SEED, plan)
    if not pairs or not held:
        raise UserError("the start has no two completions of a prefix that end and differ: give it more prefixes")
    with save_folder_atomically(out / START) as folder:
        shutil.copytree(work / "sft" / "model", folder / "model")
        rows: dict[str, list[Pair]] = {
            "pairs": comparisons(pairs),
            "feedback": feedback(pairs),
            "chosen": demonstrations(pairs),
            "prompts": [{"prompt": one} for one in prefixes(plan)],
            "held": held[: plan.held_pairs],
        }
        for name, lines in rows.items():
            text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
            write_atomically(folder / f"{name}.jsonl", text)
    agreed = float(np.mean([one["right"] for one in pairs]))
    seconds = time.process_time() - began
    return {"points": [], "pairs": len(pairs), "agreed": agreed, "sampled": tokens, "seconds": seconds}


def pairs_of(policy: LanguagePolicy, prompts: list[str], n: int, seed: int, plan: Plan) -> tuple[list[Pair], int]:
    """Labelled pairs of `n` completions of each prompt, and the number of sampled tokens."""
    drawn = completions_of(policy, prompts, n, seed, plan.max_new_tokens, plan.max_length)
    scores = study_judge().score(drawn.texts).reshape(-1, n)
    rows = [slice(i * n, (i + 1) * n) for i in range(len(prompts))]
    usable = [bool(text.strip()) and ended for text, ended in zip(drawn.responses, drawn.ended, strict=True)]
    pairs = labelled(prompts, [drawn.responses[r] for r in rows], [usable[r] for r in rows], scores, plan.scale, seed)
    return pairs, int(drawn.length.sum())


def ruler_of(plan: Plan, seed: int, out: Path) -> Ruler:
    start = load_policy(out / START / "model", "cpu")
    held = read_jsonl(out / START / "held.jsonl")
    return Ruler(start, held_out(plan), held, seed, plan.max_new_tokens, plan.max_length)


def rewarded(plan: Plan, seed: int, out: Path, work: Path) -> Found:
    """Train a reward model on the pairs, and measure the start with the seed's streams."""
    began, clock = time.process_time(), time.perf_counter()
    options = SHARED | {
        "out": str(work / "run"),
        "model": str(out / START / "model"),
        "data": str(out / START / "pairs.jsonl"),
        "seed": seed,
        "steps": plan.reward_steps,
        "batch_size": plan.texts // 2,
        "learning_rate": plan.reward_rate,
        "warmup": plan.warmup,
        "max_length": plan.max_length,
        "save_every": 0,
    }
    run_training(*build(load("reward"), options))
    spent = {"seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
    with save_folder_atomically(reward_of(seed, out)) as folder:
        shutil.copytree(work / "run" / "model", folder, dirs_exist_ok=True)
    ruler = ruler_of(plan, seed, out)
    return {"points": [{"step": 0} | ruler.measured(ruler.start)]} | spent


def reward_of(seed: int, out: Path) -> Path:
    """The folder of a seed's reward model."""
    return out / "rewards" / f"seed-{seed}"


def pooled(cell: Cell, plan: Plan, out: Path, work: Path) -> Found:
    """The best of n by the reward model, for every n of the grid, from one pool of samples.

    Gold is the mean over all subsets of n of the pool; KL is the bound log n − (n − 1)/n.
    """
    assert cell.seed is not None
    began, clock = time.process_time(), time.perf_counter()
    sizes = [int(n) for n in plan.grid["best_of_n"]]
    start = load_policy(out / START / "model", "cpu")
    prompts, most = held_out(plan), max(sizes)
    drawn = completions_of(start, prompts, most, POOL_SEED + cell.seed, plan.max_new_tokens, plan.max_length)
    proxy = score_texts(load_scorer(reward_of(cell.seed, out), "cpu"), parts_of(drawn.batch)).reshape(-1, most)
    points = [best_point(n, drawn, proxy) for n in sizes]
    spent = {"seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
    return {"points": points, "sampled": int(drawn.length.sum()), "learned": 0, "diverged": None} | spent


def best_point(n: int, drawn: Completions, proxy: np.ndarray) -> Found:
    """What is known of the best of n; distinct-2 is of the best of each prompt's first n, as one text of each."""
    shape, picks = proxy.shape, best(proxy[:, :n])
    gold = study_judge().score(drawn.texts).reshape(shape)
    chosen = [drawn.responses[i * shape[1] + int(k)] for i, k in enumerate(picks)]
    length = expected_best(proxy, n, drawn.length.reshape(shape))
    return {
        "step": n,
        "gold": rounded(expected_best(proxy, n, gold)),
        "kl": [best_of_n_kl(n)] * shape[0],
        "length": float(length.mean()),
        "entropy": None,
        "distinct_2": distinct_n(chosen, 2),
        "ended": float(expected_best(proxy, n, np.array(drawn.ended, float).reshape(shape)).mean()),
        "chosen": None,
        "rejected": None,
    }


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
    diverged: int | None = None
    try:
        run_training(*build(load(method.algorithm), options), Given(on_step=watch.step), watch.begin)
    except UserError as error:
        diverged = diverged_at(error, watch.at)
        if diverged is None:
            raise
    spent = {"seconds": watch.seconds, "wall": watch.wall, "sampled": watch.sampled, "learned": watch.learned}
    return {"points": watch.points, "diverged": diverged} | spent


def diverged_at(error: UserError, done: int) -> int | None:
    """The step at which a training diverged whose last whole update was `done`; None for any other mistake.

    Where a loss is not finite, or nothing can be sampled to learn from, it is the next step; where what is there cannot
    be measured, the last one.
    """
    if isinstance(error.__cause__, DivergedError | NotFiniteError):
        return done
    return done + 1 if isinstance(error.__cause__, NonFiniteLossError) or isinstance(error, NotFiniteError) else None


@dataclass
class Watch:
    """What is seen of a training: measurements on the way, and time and tokens without those of measuring.

    `each` is the number of completions of a rollout, 0 for a method that samples none.
    """

    ruler: Ruler
    every: int
    each: int
    points: list[Found] = field(default_factory=list)
    at: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    sampled: float = 0.0
    learned: float = 0.0
    policy: Any = None
    began: tuple[float, float] = (0.0, 0.0)

    def begin(self, models: Models) -> None:
        """Called with the models before they learn."""
        self.policy = models.main
        self.began = time.process_time(), time.perf_counter()

    def step(self, step: int, metrics: Found) -> None:
        """Called after each update; the first of a rollout has the rollout's numbers."""
        self.seconds += time.process_time() - self.began[0]
        self.wall += time.perf_counter() - self.began[1]
        self.at, self.learned = step, metrics["num_tokens"]
        self.sampled += metrics.get("objective/length", 0.0) * self.each
        if step % self.every == 0:
            spent = {"step": step, "seconds": self.seconds, "sampled": self.sampled, "learned": self.learned}
            self.points.append(spent | self.ruler.measured(self.policy))
        self.began = time.process_time(), time.perf_counter()
