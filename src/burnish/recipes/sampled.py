"""What `burnish sample` makes of completions: records for a file, means over prompts, and lines for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from burnish.evaluation.best_of_n import best_of_n_kl, expected_best
from burnish.evaluation.statistics import bootstrap_interval, paired_difference
from burnish.rewards.completed import Completed, Reward

GOLD = "gold"

WANTED = {True: "has an end and a word before it", False: "has a word"}
"""What a usable completion is, as a demonstration and as a message."""

Scores = dict[str, Float[np.ndarray, "N n"]]
Keep = Literal["best", "all"]
Format = Literal["prompt-completion", "messages"]


@dataclass(frozen=True)
class Drawn:
    """Completions, n of each prompt one after the other, with their scores by reward, and the stop text that each
    ended before (None: none)."""

    completed: Completed
    scores: dict[str, list[float]] = field(default_factory=dict)
    reasons: list[str | None] | None = None

    def table(self, name: str, n: int) -> Float[np.ndarray, "P n"]:
        """The scores by the reward of this name, a row per prompt."""
        return np.array(self.scores[name], dtype=float).reshape(-1, n)


def joined(parts: list[Drawn], rewards: list[Reward], n: int) -> Scores:
    """The scores of all prompts by each reward."""
    return {reward.name: np.concatenate([part.table(reward.name, n) for part in parts]) for reward in rewards}


def usable_ones(completed: Completed, n: int, demonstrations: bool, messages: bool) -> Bool[np.ndarray, "P n"]:
    """Which completions can be written.

    As `demonstrations` those that can be imitated as they are: they ended by themselves after at least one word. As
    `messages` those with a word, because no answer of a conversation is empty.
    """
    said = np.array([bool(response.strip()) for response in completed.responses])
    fine = said & np.array(completed.ended) if demonstrations else said | (not messages)
    return fine.reshape(-1, n)


def best_usable(
    scores: Float[np.ndarray, "P n"] | None, usable: Bool[np.ndarray, "P n"]
) -> tuple[Int[np.ndarray, "P"], Bool[np.ndarray, "P"]]:
    """The best of each prompt's usable completions (the first without scores), and whether there is one."""
    mine = np.zeros(usable.shape) if scores is None else scores
    return np.where(usable, mine, -np.inf).argmax(1), np.logical_or.reduce(usable, axis=1)


def lines_of(
    drawn: Drawn, n: int, scored_by: str | None, keep: Keep, usable: Bool[np.ndarray, "P n"], carried: set[str] | None
) -> Iterator[dict[str, Any]]:
    """One JSON record per completion that is kept: the best usable one of each prompt with the mean score of all n, or
    all usable ones.

    With `carried` a record has a conversation, and these of the row's columns, which a chat template reads.
    """
    found = drawn.completed
    mine = drawn.table(scored_by, n) if scored_by else None
    picked, kept = best_usable(mine, usable)
    for i in range(len(usable)):
        chosen = np.flatnonzero(usable[i]).tolist() if keep == "all" else [int(picked[i])] * bool(kept[i])
        for place in (i * n + k for k in chosen):
            line = {"row": found.rows[place]} | written(found, place, carried)
            if mine is not None:
                line["score"] = round(float(mine.flat[place]), 6)
                line |= {"mean_score": round(float(mine[i].mean()), 6)} if keep == "best" else {}
            if GOLD in drawn.scores and scored_by != GOLD:
                line[GOLD] = round(float(drawn.scores[GOLD][place]), 6)
            line["ended"] = found.ended[place]
            yield line if drawn.reasons is None else line | {"stop_reason": drawn.reasons[place]}


def written(found: Completed, place: int, carried: set[str] | None) -> dict[str, Any]:
    """A prompt and its completion as `burnish sft` reads them, in two columns or as a conversation."""
    prompt = found.prompts[place]
    if carried is None:
        return {"prompt": prompt, "completion": continuation(found, place)}
    beside = {name: cells[place] for name, cells in found.columns.items() if name in carried}
    said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    answer = found.responses[place].lstrip() if isinstance(prompt, str) else found.responses[place]
    if said[-1]["role"] == "assistant":  # it was continued
        said[-1] = said[-1] | {"content": said[-1]["content"] + answer}
    else:
        said.append({"role": "assistant", "content": answer})
    return {"messages": said} | {name: cell for name, cell in beside.items() if cell is not None}


def continuation(found: Completed, place: int) -> str:
    """A completion as it goes on behind its prompt: decoded alone, some tokenizers leave out the space between them."""
    prompt, text = found.prompts[place], found.texts[place]
    continues = isinstance(prompt, str) and text.startswith(prompt)
    return text[len(prompt) :] if continues else found.responses[place]


def shown(line: dict[str, Any]) -> str:
    """A record for the terminal: the text as one, or a conversation with a line per message."""
    if isinstance(line.get("prompt"), str):
        return f"{line['prompt']}{line['completion']}"
    said = line.get("messages") or [*line["prompt"], {"role": "assistant", "content": line["completion"]}]
    return "\n".join(f"{one['role']}: {one.get('content') or ''}" for one in said) + "\n"


def summarise(
    parts: list[Drawn], scores: Scores, scored_by: str | None, n: int, usable: Bool[np.ndarray, "P n"]
) -> dict[str, Any]:
    """Means over prompts with intervals, of the first sample and of the best of n; and best-of-n curves.

    The means are over prompts with a usable completion; the curve is over all samples.

    `gain` is the paired difference of the two. The curve's means are over all choices from the n samples.
    """
    ended = [flag for part in parts for flag in part.completed.ended]
    summary: dict[str, Any] = {"left_out": int((~usable.any(1)).sum()), "eos_rate": float(np.mean(ended))}
    if scored_by is None:
        return summary | {name: {"first": bootstrap_interval(s[:, 0]).as_dict()} for name, s in scores.items()}
    mine = scores[scored_by]
    picked, kept = best_usable(mine, usable)
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
        lines.append(f"{left_out:,} prompts left out, because no completion {WANTED[summary['demonstrations']]}")

    def shown(interval: dict[str, float]) -> str:
        return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"

    titles = {"score": f"score by {summary.get('reward')}", GOLD: "gold score"}
    for name in (key for key in titles if key in summary):
        means = summary[name]
        line = f"{titles[name]}: {shown(means['first'])} for the first"
        if n > 1 and "best" in means:
            line += f", {shown(means['best'])} for the best of {n}"
        lines.append(line)
    if n > 1 and summary["keep"] == "best":
        bound = summary["kl_upper_bound"]
        lines.append(f"KL to the sampler: at most {bound:.3f} nats, the upper bound log n − (n − 1)/n")
    return "\n".join(lines)
