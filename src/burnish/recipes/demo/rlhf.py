"""The demo's uses of a reward model: labelled pairs, the best of n, and its scores during PPO."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.config import Settings
from burnish.data import builtin
from burnish.data.prompts import read_prompts
from burnish.evaluation.best_of_n import best, best_of_n_kl
from burnish.evaluation.continuations import Continuations
from burnish.evaluation.reward_models import score_texts
from burnish.evaluation.statistics import bootstrap_interval
from burnish.evaluation.text import distinct_n, word_lengths
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.scorer import LanguageScorer
from burnish.recipes.demo.measure import MAX_LENGTH, MAX_NEW_TOKENS, Measured
from burnish.recipes.gold import gold_judge
from burnish.recipes.sample import Knobs, draw
from burnish.recipes.sampled import joined
from burnish.rewards.completed import Completed
from burnish.rewards.model import model_reward
from burnish.run import read_jsonl, write_atomically


def sampled_pairs(policy: LanguagePolicy, scorer: LanguageScorer, count: int, out: Path, base: Settings) -> Path:
    """Write two completions of each of `count` training prefixes, the one with the higher score as `chosen`, as JSONL.

    Pairs with equal scores carry no information, and a completion that was cut at the length limit would get an end
    that it never had: both are left out.
    """
    if out.exists():
        return out
    prompts = builtin.prefixes("train", count)
    completed, scores = sample_n(policy, scorer, prompts, 2, base)
    pairs = labelled(completed, scores)
    write_atomically(out, "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs))
    return out


def labelled(completed: list[Completed], scores: np.ndarray) -> list[dict[str, Any]]:
    """The pairs of two completions per prompt, `scores[N, 2]`, without those with equal scores, without an end, or
    without text before the end."""
    pairs = []
    for i, (first, second) in enumerate(scores):
        a, b = at(completed, 2 * i), at(completed, 2 * i + 1)
        if first != second and all(one["ended"] and one["response"] for one in (a, b)):
            chosen, rejected = (a, b) if first > second else (b, a)
            gap = {"chosen_score": float(max(first, second)), "rejected_score": float(min(first, second))}
            pairs.append({"prompt": a["prompt"], "chosen": chosen["response"], "rejected": rejected["response"]} | gap)
    return pairs


def best_of(
    policy: LanguagePolicy, scorer: LanguageScorer, prompts: list[str], sizes: tuple[int, ...], base: Settings
) -> dict[str, Measured]:
    """The best of n continuations by the scorer, for each n of `sizes`: the first n of the same samples."""
    rows = builtin.prefixes("held_out", len(prompts))
    completed, scores = sample_n(policy, scorer, rows, max(sizes), base)
    found = {}
    for n in sizes:
        picks = picked(scores, n)
        chosen = [at(completed, pick) for pick in picks]
        written = [record["response"] for record in chosen]
        texts = [record["text"] for record in chosen]
        found[f"best of {n}"] = Measured(
            continuations=Continuations(prompts, texts, None, [record["ended"] for record in chosen]),
            gold=gold_judge().score(texts),
            kl=np.full(len(texts), best_of_n_kl(n)),
            words=np.array(word_lengths(written), dtype=float),
            distinct_2=distinct_n(written, 2),
            eos_rate=float(np.mean([record["ended"] for record in chosen])),
            proxy=scores.ravel()[picks],
        )
    return found


def picked(scores: np.ndarray, n: int) -> list[int]:
    """The index over all samples of the best of each prompt's first n, from `scores[N, most]`."""
    return [i * scores.shape[1] + int(k) for i, k in enumerate(best(scores[:, :n]))]


def sample_n(
    policy: LanguagePolicy, scorer: LanguageScorer, rows: Any, n: int, base: Settings
) -> tuple[list[Completed], np.ndarray]:
    """n completions of every prefix, and their scores `[N, n]`."""
    prompts = read_prompts(rows, policy.tokenizer, MAX_LENGTH - MAX_NEW_TOKENS, "the built-in prefixes")
    reward = model_reward(scorer, policy.tokenizer, "the reward model")
    parts = list(draw(policy, prompts, n, [reward], Knobs(MAX_NEW_TOKENS), base, quiet=base.quiet))
    return [part.completed for part in parts], joined(parts, [reward], n)[reward.name]


def at(completed: list[Completed], index: int) -> dict[str, Any]:
    """Completion number `index` over all parts."""
    for part in completed:
        if index < len(part):
            lists = {"prompt": part.prompts, "response": part.responses, "text": part.texts, "ended": part.ended}
            return {name: values[index] for name, values in lists.items()}
        index -= len(part)
    raise IndexError(index)


def with_proxy(measured: Measured, scorer: LanguageScorer) -> Measured:
    """The measurements with the reward model's scores of the same continuations."""
    batch = measured.continuations.batch
    if batch is None:
        return measured
    scorer.dropout(False)
    return replace(measured, proxy=score_texts(scorer, [batch.to(scorer.device)]))


def climb(run: Path) -> list[dict[str, Any]]:
    """The scores of each of PPO's rollouts by the reward model and the gold judge, from all samples of a run.

    Where the first keeps rising and the second does not, the policy exploits its reward model (Gao et al.
    2022, "Scaling Laws for Reward Model Overoptimization").
    """
    records = read_jsonl(run / "samples.jsonl")
    gold = gold_judge().score([record["prompt"] + record["response"] for record in records])
    proxy, kl, steps = (np.array([record[key] for record in records]) for key in ("score", "kl", "step"))
    return [
        {
            "step": int(step),
            "proxy": bootstrap_interval(proxy[steps == step]).as_dict(),
            "gold": bootstrap_interval(gold[steps == step]).as_dict(),
            "kl": bootstrap_interval(kl[steps == step]).as_dict(),
        }
        for step in np.unique(steps)
    ]
