"""The study's cells: the start with its labelled pairs, a proxy per number of labels, and how each is optimised."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from burnish.data import tokenise
from burnish.evaluation.best_of_n import expected_best
from burnish.evaluation.reward_models import score_texts
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.study.best import best_point
from burnish.recipes.study.cell import CELLS, SHARED, Found
from burnish.recipes.study.judge import study_judge
from burnish.recipes.study.labels import Pair, comparisons, unlabelled
from burnish.recipes.study.measure import completions_of, parts_of, rounded
from burnish.recipes.study.overoptimise.controls import begun_and_watched, controlled
from burnish.recipes.study.overoptimise.plan import (
    BEST,
    CONTROLS,
    GOLD,
    METHODS,
    PPO,
    Plan,
    options_of,
    reward_steps,
)
from burnish.recipes.study.overoptimise.proxies import agreements, labels_of, reward_of
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
from burnish.run import UserError, read_jsonl, read_mapping

Kept = dict[str, list[Pair]]


@dataclass(frozen=True)
class Cell:
    """The start and its pairs; with a `seed` the reward model of so many `labels`, PPO on it, or the best of n by all
    of the seed's reward models, which choose from one pool; a training that is run for the monitor; with `members` what
    the reward models of so many seeds say of PPO's texts, or of those of the training `of`."""

    seed: int | None = None
    method: str | None = None
    labels: int | None = None
    members: int | None = None
    of: str | None = None

    @property
    def name(self) -> str:
        if self.seed is None:
            return START
        parts = [self.method or "reward", self.of, self.labels, self.members and f"of-{self.members}"]
        return f"seed-{self.seed}/" + "-".join(str(one) for one in parts if one is not None)

    @property
    def label(self) -> str:
        if self.seed is None:
            return "the start and its pairs"
        if self.members is not None:
            whose = "PPO's texts" if self.of is None else f"the texts of {CONTROLS[self.of]}"
            return f"seed {self.seed}, {whose} by {self.members} reward models of {self.labels:,} labels"
        known = {None: "reward model", BEST: METHODS[BEST].lower(), PPO: METHODS[PPO]} | CONTROLS
        what = f"seed {self.seed}, {known[self.method]}"
        return what if self.labels is None else f"{what}, {self.labels:,} labels"

    @property
    def run(self) -> "Cell":
        """The training whose texts are scored."""
        return Cell(self.seed, self.of or PPO, None if self.of == GOLD else self.labels)


@dataclass(frozen=True)
class Overoptimise:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        if cell.seed is None:
            return started(self.plan, out, work)
        if cell.method == BEST:
            return pooled(cell.seed, self.plan, out)
        if cell.method in CONTROLS:
            return controlled(cell.seed, cell.method, cell.labels, self.plan, out, work)
        assert cell.labels is not None
        if cell.members is not None:
            return judged(cell, self.plan, out)
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
    return begun_and_watched(ruler, plan, plan.rollout, PPO, options)


def judged(cell: Cell, plan: Plan, out: Path) -> Found:
    """What the reward models of so many seeds, all of as many labels, say of the texts of a training: `scores` by
    reward model, measurement and prefix. They score the ids that were sampled; those that diverged are
    left out."""
    assert cell.labels is not None
    assert cell.members is not None
    began, clock = time.process_time(), time.perf_counter()
    points = read_mapping(out / CELLS / f"{cell.run.name}.json")["points"]
    scores = []
    for member in range(cell.members):
        if not trained_well(member, cell.labels, out):
            continue
        scorer = load_scorer(reward_of(member, cell.labels, out), "cpu")
        ids = tokenise.prompts(held_out(plan), scorer.tokenizer, plan.max_length - plan.max_new_tokens)
        batches = [completions_batch(ids, one["tokens"]) for one in points]
        scores.append([rounded(score_texts(scorer, parts_of(batch))) for batch in batches])
    spent = {"seconds": time.process_time() - began, "wall": time.perf_counter() - clock}
    return {"points": [], "scores": scores} | spent
