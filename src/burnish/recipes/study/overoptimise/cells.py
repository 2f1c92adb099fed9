"""The study's cells: the start with its labelled pairs, a proxy per number of labels, and how each is optimised."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from jaxtyping import Float
from scipy.special import expit

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import tokenise
from burnish.data.walk import in_order
from burnish.evaluation.best_of_n import expected_best
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.reward_models import score_pairs, score_texts
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.study.best import best_point
from burnish.recipes.study.cell import CELLS, SHARED, Found
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.labels import Pair, comparisons, drawn_labels, unlabelled
from burnish.recipes.study.measure import AT_ONCE, DivergedError, completions_of, parts_of, rounded
from burnish.recipes.study.overoptimise.plan import BEST, METHODS, PPO, Plan, options_of, reward_steps
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
    write_rows,
)
from burnish.recipes.study.watch import Watch, watched
from burnish.run import UserError, read_jsonl, read_mapping

Kept = dict[str, list[Pair]]

LABEL_SEED = 3_000
"""With the study's seed, of the draws of labels."""


@dataclass(frozen=True)
class Cell:
    """The start and its pairs; with a `seed` the reward model of so many `labels`, PPO on it, or the best of n by all
    of the seed's reward models, which choose from one pool; with `members` what the reward models of so many seeds say
    of PPO's texts."""

    seed: int | None = None
    method: str | None = None
    labels: int | None = None
    members: int | None = None

    @property
    def name(self) -> str:
        if self.seed is None:
            return START
        own = BEST if self.labels is None else f"{self.method or 'reward'}-{self.labels}"
        return f"seed-{self.seed}/{own}" + ("" if self.members is None else f"-of-{self.members}")

    @property
    def label(self) -> str:
        if self.seed is None:
            return "the start and its pairs"
        if self.labels is None:
            return f"seed {self.seed}, {METHODS[BEST].lower()}"
        if self.members is not None:
            return f"seed {self.seed}, PPO's texts by {self.members} reward models of {self.labels:,} labels"
        what = "reward model" if self.method is None else METHODS[self.method]
        return f"seed {self.seed}, {what}, {self.labels:,} labels"


@dataclass(frozen=True)
class Overoptimise:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        if cell.seed is None:
            return started(self.plan, out, work)
        if cell.method == BEST:
            return pooled(cell.seed, self.plan, out)
        assert cell.labels is not None
        if cell.members is not None:
            return judged(cell.seed, cell.labels, cell.members, self.plan, out)
        return (trained if cell.method is None else learned)(cell.seed, cell.labels, self.plan, out, work)

    def is_whole(self, cell: Cell, found: Found) -> bool:
        return isinstance(found.get("points"), list) and all(found.get(key) == one for key, one in asdict(cell).items())

    def line(self, cell: Cell, found: Found) -> str:
        if "correct" in found:
            return f"right about {np.mean(found['correct']):.0%} of held-out pairs"
        if "scores" in found:
            return f"{len(found['scores'])} reward models at {len(found['scores'][0])} measurements"
        if not found["points"]:
            step = found.get("diverged")
            return "no measurement" + ("" if step is None else f", diverged at step {step}")
        last = found["points"][-1]
        said = f"gold {np.mean(last['gold']):.2f} at {np.mean(last['kl']):.2f} nats"
        return said if found.get("diverged") is None else f"{said}, diverged at step {found['diverged']}"


def started(plan: Plan, out: Path, work: Path) -> Found:
    """Train the start, let it complete prefixes, and pair its completions: of training prefixes for the reward models,
    which each seed labels anew, and of held-out ones to measure them. `agreed` is the probability that a label agrees
    with the judge's scores."""
    began = time.process_time()
    model, prompts = imitated(plan, work), prefixes(plan)
    policy = load_policy(model, "cpu")
    pairs, tokens = pairs_of(policy, prompts, plan.completions, 0, plan, apart=True)
    held, _ = pairs_of(policy, held_out(plan), plan.completions, HELD_SEED, plan, apart=True)
    if len(pairs) < max(plan.labels):
        raise UserError(
            f"the start's completions make {len(pairs):,} pairs that end and differ, fewer than the "
            f"{max(plan.labels):,} that are to be labelled: give it more prefixes or completions"
        )
    rows: Kept = {"pairs": unlabelled(pairs), "prompts": [{"prompt": one} for one in prompts], "held": held}
    begun(model, rows, out)
    agreed = float(np.mean([expit(abs(one["gap"]) / plan.scale) for one in pairs]))
    seconds = time.process_time() - began
    return {"points": [], "pairs": len(pairs), "agreed": agreed, "sampled": tokens, "seconds": seconds}


def chosen_rows(seed: int, labels: int, pairs: int) -> list[int]:
    """Which pairs a seed's reward model of so many labels learns from: the first of the seed's random order, so that
    the more have the fewer among them."""
    return np.random.default_rng(seed).permutation(pairs)[:labels].tolist()


def trained(seed: int, labels: int, plan: Plan, out: Path, work: Path) -> Found:
    """Train a reward model on so many labels, which are the seed's own. `correct` says which held-out pairs it orders
    as the gold judge does, and `prefix` whose they are; `fitted` is its accuracy on the labels that it has learned
    from, and `agreed` the share of them that agree with the judge's scores. One that has `diverged` orders nothing."""
    mine, data = labels_of(seed, labels, plan, out), work / "labels.jsonl"
    write_rows(data, comparisons(mine))
    spent = rewarded(plan, data, reward_steps(plan, labels), seed, out, work, reward_of(seed, labels, out))
    if spent["diverged"] is not None:
        return {"points": []} | spent
    scorer, held = load_scorer(reward_of(seed, labels, out), "cpu"), read_jsonl(out / START / "held.jsonl")
    agrees, rows = agreements(scorer, held, plan.max_length)
    right = np.array([held[row]["right"] for row in rows])
    found: Found = {"points": [], "correct": np.where(right, agrees, 1 - agrees).tolist()}
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(one["prompt"] for one in held))}
    found |= {"prefix": [numbers[held[row]["prompt"]] for row in rows]}
    found |= {"fitted": float(agreements(scorer, mine, plan.max_length)[0].mean())}
    return found | {"agreed": float(np.mean([one["right"] for one in mine]))} | spent


def labels_of(seed: int, labels: int, plan: Plan, out: Path) -> list[Pair]:
    """What a seed's reward model of so many labels learns from."""
    pairs = drawn_labels(read_jsonl(out / START / "pairs.jsonl"), plan.scale, (LABEL_SEED, seed))
    return [pairs[row] for row in chosen_rows(seed, labels, len(pairs))]


def agreements(scorer: Any, pairs: list[Pair], max_length: int) -> tuple[Float[np.ndarray, "N"], list[int]]:
    """1 for each pair that the scorer orders as its label does, 0 where not, ½ for a tie; and which pairs they are."""
    rows = tokenise.preferences(Dataset.from_list(comparisons(pairs)), scorer.tokenizer, max_length, "pairs")
    batches: Iterable[Any] = in_order(rows, AT_ONCE)
    scores = score_pairs(scorer, batches)
    return accuracy_scores(scores[:, 0] - scores[:, 1]), list(rows.dataset["row"])


def reward_of(seed: int, labels: int, out: Path) -> Path:
    """The folder of a reward model."""
    return out / "rewards" / f"seed-{seed}-{labels}"


def trained_well(seed: int, labels: int, out: Path) -> bool:
    """Whether a reward model, which is computed, has not diverged."""
    return read_mapping(out / CELLS / f"{Cell(seed, None, labels).name}.json")["diverged"] is None


def pooled(seed: int, plan: Plan, out: Path) -> Found:
    """The best of n by each of the seed's reward models that have not diverged, for every n, from one pool of
    samples."""
    began, clock = time.process_time(), time.perf_counter()
    prompts, most = held_out(plan), max(plan.sizes)
    drawn = completions_of(start_of(out), prompts, most, POOL_SEED + seed, plan.max_new_tokens, plan.max_length)
    gold = study_judge().score(drawn.texts).reshape(-1, most)
    points = []
    for labels in plan.labels:
        if not trained_well(seed, labels, out):
            continue
        scorer = load_scorer(reward_of(seed, labels, out), "cpu")
        proxy = score_texts(scorer, parts_of(drawn.batch)).reshape(-1, most)
        for n in plan.sizes:
            claimed = {"labels": labels, "proxy": rounded(expected_best(proxy, n))}
            points.append(claimed | best_point(n, drawn, proxy, gold))
    spent = {"seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
    return {"points": points, "sampled": int(drawn.length.sum()), "learned": 0, "diverged": None} | spent


def learned(seed: int, labels: int, plan: Plan, out: Path, work: Path) -> Found:
    """PPO on a reward model, measured before it and as it goes, with all that it writes then. Where it diverges, what
    was measured is kept."""
    proxy = reward_of(seed, labels, out)
    options = SHARED | options_of(plan, seed)
    options |= {"out": str(work / "run"), "model": str(out / START / "model"), "reward": str(proxy)}
    options["data"] = str(out / START / "prompts.jsonl")
    ruler = ruler_of(plan, seed, out, load_scorer(proxy, "cpu"), texts=True)
    try:
        first = {"step": 0} | ruler.measured(ruler.start)
    except DivergedError:
        return {"points": [], "diverged": 0}
    return watched(Watch(ruler, plan.eval_every, plan.rollout, [first]), *build(load(PPO), options))


def judged(seed: int, labels: int, members: int, plan: Plan, out: Path) -> Found:
    """What the reward models of so many seeds, all of as many labels, say of the texts of a seed's PPO: `scores` by
    reward model, measurement and prefix. They score the ids that were sampled; those that diverged are left out."""
    began, clock = time.process_time(), time.perf_counter()
    points = read_mapping(out / CELLS / f"{Cell(seed, PPO, labels).name}.json")["points"]
    scores = []
    for member in range(members):
        if not trained_well(member, labels, out):
            continue
        scorer = load_scorer(reward_of(member, labels, out), "cpu")
        ids = tokenise.prompts(held_out(plan), scorer.tokenizer, plan.max_length - plan.max_new_tokens)
        batches = [completions_batch(ids, one["tokens"]) for one in points]
        scores.append([rounded(score_texts(scorer, parts_of(batch))) for batch in batches])
    spent = {"seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
    return {"points": [], "scores": scores} | spent
