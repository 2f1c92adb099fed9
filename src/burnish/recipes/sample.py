"""`burnish sample MODEL`: n completions per prompt, and the best of them by a reward."""

import json
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from burnish.config import Settings
from burnish.data import builtin, sources
from burnish.data.mixture import read_all_prompts
from burnish.data.prompts import Prompts
from burnish.evaluation.best_of_n import best_of_n_kl, expected_best
from burnish.evaluation.statistics import bootstrap_interval, paired_difference
from burnish.experience.language.sampling import Sampling, completed_rows
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.assets import resolve_model
from burnish.recipes.gold import gold_judge
from burnish.recipes.train.models import loading_of, pick_device, say
from burnish.recipes.train.rewards import resolve_reward
from burnish.recipes.train.run import prepare_torch
from burnish.rewards.builtin import gold_reward
from burnish.rewards.completed import Completed, Reward, checked_scores
from burnish.run import UserError, writable_file, write_atomically
from burnish.training.progress import Progress

MOST = 2**20  # samples of one prompt: each has a random stream of its own
ROWS_AT_ONCE = 512
GOLD = "gold"

Scores = dict[str, Float[np.ndarray, "N n"]]


@dataclass(frozen=True)
class Samples:
    """`lines`: a record per prompt, with its best completion; `summary`: totals; `scores`: all scores by reward."""

    lines: list[dict[str, Any]]
    summary: dict[str, Any]
    scores: Scores


def sample_model(
    model: str | Path,
    data: Any = "builtin",
    n: int = 1,
    reward: Any = None,
    out: str | Path | None = None,
    *,
    max_new_tokens: int = Sampling.max_new_tokens,
    temperature: float = 1.0,
    limit: int | None = None,
    demonstrations: bool = False,
    keep_special_tokens: bool = False,
    base: Settings | None = None,
) -> Samples:
    """Sample `n` completions of each prompt of `data`, keep the best by `reward`, and write JSONL to `out`.

    At most the first `limit` rows of `data` are used; "builtin" are the held-out prefixes, for which the gold score is
    given too. Sample k of row i does not depend on `n`, `limit` or the other rows. `base` has seed, device, threads,
    precision, and `max_length`, which counts prompt and completion.

    The file has the columns `prompt` and `completion` that `burnish sft` reads. With `demonstrations`, only completions
    that can be imitated as they are get picked: with an end (imitation would add one) and with text before it; prompts
    without such a completion are left out. `keep_special_tokens` keeps all special tokens of a completion but padding
    and its end. Raises UserError for invalid input or a reward that fails.
    """
    base = base or Settings()
    check(n, reward, limit, out)
    prepare_torch(base)
    policy = load_policy(resolve_model(model), pick_device(base.device), base.precision, loading=loading_of(base))
    rewards = [] if reward is None else [resolve_reward(reward, policy, loading_of(base))]
    scored_by = rewards[0].name if rewards else None
    prompts = prompts_of(data, limit, policy, base.max_length, max_new_tokens)
    say(base, prompts.describe())
    if isinstance(data, str) and data == "builtin" and scored_by != GOLD:
        rewards.append(gold_reward(gold_judge()))
    completed, scores = complete(policy, prompts, n, rewards, max_new_tokens, temperature, base, keep_special_tokens)
    facts = {"model": str(model), "data": prompts.name, "prompts": len(prompts), "n": n, "temperature": temperature}
    facts |= {"max_new_tokens": max_new_tokens, "seed": base.seed}
    usable = usable_ones(completed, n) if demonstrations else np.ones((len(prompts), n), dtype=bool)
    if not usable.any():
        raise UserError("no completion has an end and a word before it: raise --max-new-tokens")
    facts |= {"left_out": int((~usable.any(1)).sum())} if demonstrations else {}
    facts |= summarise([c.ended for c in completed], scores, scored_by, n, usable)
    found = Samples(sample_lines(completed, scores, scored_by, n, usable), facts, scores)
    say(base, describe(found.summary))
    if out is not None:
        write_atomically(Path(out), "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in found.lines))
    return found


def check(n: int, reward: Any, limit: int | None, out: str | Path | None) -> None:
    """Raise UserError for invalid arguments, before anything is loaded; make the folder of `out`."""
    if not 1 <= n <= MOST:
        raise UserError(f"--n must lie in 1…{MOST}, not {n}")
    if n > 1 and reward is None:
        raise UserError(f"--n {n} needs a --reward that chooses the best of them")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    if out is not None:
        writable_file(out)


def prompts_of(data: Any, limit: int | None, policy: LanguagePolicy, max_length: int, max_new_tokens: int) -> Prompts:
    """The prompts, cut so that each leaves room for a completion."""
    longest = min(max_length, policy.context or max_length)
    if max_new_tokens >= longest:
        raise UserError(f"--max-new-tokens {max_new_tokens} leaves no room for a prompt within {longest} tokens")
    if isinstance(data, str) and data == "builtin":
        dataset, name = builtin.prefixes("held_out"), "the built-in prefixes, held_out"
        parts = [(name, dataset.select(range(min(len(dataset), limit or len(dataset)))))]
    else:
        parts = sources.load_parts(data, limit)
    return read_all_prompts(parts, policy.tokenizer, longest - max_new_tokens)


def complete(
    policy: LanguagePolicy,
    prompts: Prompts,
    n: int,
    rewards: list[Reward],
    max_new_tokens: int,
    temperature: float,
    base: Settings,
    keep_special_tokens: bool = False,
) -> tuple[list[Completed], Scores]:
    """n completions per prompt, one after the other, with their scores by each reward.

    They are scored as they are sampled, so that a failing reward is found early.
    """
    size = max(1, ROWS_AT_ONCE // n)
    starts = range(0, len(prompts), size)
    decoder, say_once = Decoder.of(policy, keep_special_tokens), cache(partial(say, base))
    completed: list[Completed] = []
    scores: dict[str, list[list[float]]] = {reward.name: [] for reward in rewards}
    with Progress("sampling", len(starts), quiet=base.quiet) as progress:
        for start in starts:
            which = [i for i in range(start, min(start + size, len(prompts))) for _ in range(n)]
            sampled = sample(
                policy,
                [prompts.ids[i] for i in which],
                seed=base.seed,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                streams=[prompts.rows[i] * MOST + place % n for place, i in enumerate(which)],
            )
            decoder.warn(sampled.tokens, say_once)
            completed.append(completed_rows(policy, prompts, which, sampled, decoder))
            for reward in rewards:
                scores[reward.name].append(checked_scores(reward, completed[-1]))
            progress.step()
    return completed, {name: np.concatenate(parts).reshape(-1, n) for name, parts in scores.items()}


def usable_ones(completed: list[Completed], n: int) -> Bool[np.ndarray, "N n"]:
    """Which completions can be imitated as they are: those that ended by themselves after at least one word."""
    fine = [e and bool(r.strip()) for found in completed for e, r in zip(found.ended, found.responses, strict=True)]
    return np.array(fine).reshape(-1, n)


def picks(
    scores: Scores, scored_by: str | None, usable: Bool[np.ndarray, "N n"]
) -> tuple[Int[np.ndarray, "N"], Bool[np.ndarray, "N"]]:
    """The best of each prompt's usable completions (the first without a reward), and whether there is one."""
    mine = scores[scored_by] if scored_by else np.zeros(usable.shape)
    return np.where(usable, mine, -np.inf).argmax(1), np.logical_or.reduce(usable, axis=1)


def sample_lines(
    completed: list[Completed], scores: Scores, scored_by: str | None, n: int, usable: Bool[np.ndarray, "N n"]
) -> list[dict[str, Any]]:
    """One JSON record per prompt: its best completion, the scores of that one, and the mean score of all n."""
    picked, kept = picks(scores, scored_by, usable)
    lines: list[dict[str, Any]] = []
    places = [(found, first) for found in completed for first in range(0, len(found), n)]
    for i, (found, first) in enumerate(places):
        if kept[i]:
            k = int(picked[i])
            line = {name: getattr(found, f"{name}s")[first + k] for name in ("row", "prompt")}
            line["completion"] = continuation(found, first + k)
            if scored_by:
                mine = scores[scored_by][i]
                line |= {"score": round(float(mine[k]), 6), "mean_score": round(float(mine.mean()), 6)}
            if GOLD in scores and scored_by != GOLD:
                line[GOLD] = round(float(scores[GOLD][i, k]), 6)
            lines.append(line | {"ended": found.ended[first + k]})
    return lines


def continuation(found: Completed, place: int) -> str:
    """A completion as it goes on behind its prompt: decoded alone, some tokenizers leave out the space between them."""
    prompt, text = found.prompts[place], found.texts[place]
    continues = isinstance(prompt, str) and text.startswith(prompt)
    return text[len(prompt) :] if continues else found.responses[place]


def summarise(
    ended: list[list[bool]], scores: Scores, scored_by: str | None, n: int, usable: Bool[np.ndarray, "N n"]
) -> dict[str, Any]:
    """Means over prompts with intervals, of the first sample and of the best of n; and best-of-n curves.

    The means are over prompts with a usable completion; the curve is over all samples.

    `gain` is the paired difference of the two. The curve's means are over all choices from the n samples.
    """
    summary: dict[str, Any] = {"eos_rate": float(np.mean([flag for part in ended for flag in part]))}
    if scored_by is None:
        return summary | {name: {"first": bootstrap_interval(s[:, 0]).as_dict()} for name, s in scores.items()}
    mine = scores[scored_by]
    picked, kept = picks(scores, scored_by, usable)
    summary |= {"reward": scored_by, "kl_upper_bound": best_of_n_kl(n)}
    beside = {GOLD: scores[GOLD]} if GOLD in scores and scored_by != GOLD else {}
    tables = {"score": mine} | beside
    for name, values in tables.items():
        first, chosen = values[kept, 0], np.take_along_axis(values, picked[:, None], axis=1)[kept, 0]
        summary[name] = {
            "first": bootstrap_interval(first).as_dict(),
            "best": bootstrap_interval(chosen).as_dict(),
            "gain": paired_difference(chosen, first).as_dict(),
        }
    summary["curve"] = [
        {"n": size, "kl_upper_bound": best_of_n_kl(size)}
        | {name: float(expected_best(mine, size, values).mean()) for name, values in tables.items()}
        for size in sizes(n)
    ]
    return summary


def sizes(n: int) -> list[int]:
    """1, 2, 4 … and n itself."""
    return sorted({2**k for k in range(n.bit_length()) if 2**k <= n} | {n})


def describe(summary: dict[str, Any]) -> str:
    """The summary as a few lines for the terminal."""
    n = summary["n"]
    lines = [f"{summary['prompts']:,} prompts, {n} completions of each, {summary['eos_rate']:.0%} ended by themselves"]

    if left_out := summary.get("left_out"):
        lines.append(f"{left_out:,} prompts left out, because no completion has an end and a word before it")

    def shown(interval: dict[str, float]) -> str:
        return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"

    titles = {"score": f"score by {summary.get('reward')}", GOLD: "gold score"}
    for name in (key for key in titles if key in summary):
        means = summary[name]
        line = f"{titles[name]}: {shown(means['first'])} for the first"
        if n > 1 and "best" in means:
            line += f", {shown(means['best'])} for the best of {n}"
        lines.append(line)
    if n > 1:
        bound = summary["kl_upper_bound"]
        lines.append(f"KL to the sampler: at most {bound:.3f} nats, the upper bound log n − (n − 1)/n")
    return "\n".join(lines)
