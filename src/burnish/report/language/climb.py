"""Scores of the reward model during PPO, and whether the gold judge, which PPO never sees, confirms them.

A record is one rollout: `run`, `step` (updates before it) and the intervals `proxy`, `gold` and `kl` of its texts.
If the reward model's score rises and the judge's does not, the policy exploits its reward model (Gao et al. 2022,
"Scaling Laws for Reward Model Overoptimization").
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from burnish.report import wording
from burnish.report.figures import Colours, bands
from burnish.report.page import Figure, figure

Record = Mapping[str, Any]
CHARTS = [("proxy", "Reward model’s score"), ("gold", "Judge’s gold score"), ("kl", "KL to {} (nats)")]


def climb_figures(records: Sequence[Record], colours: Colours, name: str, baseline: str) -> list[Figure]:
    """Charts of the reward model's score, the judge's score and the KL over the updates of model `name`."""
    found = []
    for key, title in CHARTS:
        rows = [
            {"name": name, "run": str(r.get("run", "")), "step": r["step"]} | {end: r[key][end] for end in ENDS}
            for r in records
            if r.get(key)
        ]
        if rows:
            title = title.format(baseline)
            spoken = f"{title} during the training of {name}: from {rows[0]['mean']:.2f} to {rows[-1]['mean']:.2f}."
            found.append(figure(f"climb-{key}", bands(pd.DataFrame(rows), colours, title, "updates", spoken)))
    return found


def change(early: Sequence[Record], late: Sequence[Record], key: str) -> dict[str, float]:
    """The mean of `key` in the late rollouts minus that in the early ones, with a 95 % interval.

    Half the width hᵢ of a rollout's interval is 1.96 standard errors, and rollouts are sampled independently: the
    squared half-width of a mean of k is Σ hᵢ² / k², that of a difference is the sum of both.
    """
    means, squares = [], 0.0
    for part in (early, late):
        means.append(sum(r[key]["mean"] for r in part) / len(part))
        squares += sum(((r[key]["high"] - r[key]["low"]) / 2) ** 2 for r in part) / len(part) ** 2
    difference, half = means[1] - means[0], math.sqrt(squares)
    return {"mean": difference, "low": difference - half, "high": difference + half}


def climb_sentences(records: Sequence[Record], name: str) -> str:
    """How both scores changed from the first third of training to the last; empty with too few rollouts."""
    first, second, third = thirds(records)
    if not (first and second and third):
        return ""
    proxy, gold = (change(first, third, key) for key in ("proxy", "gold"))
    changes = (
        f"From the first third of {name}’s training to the last, the reward model’s score "
        f"{_moved(proxy)}, and the judge’s gold score {_moved(gold)}."
    )
    late = [wording.verdict(change(second, third, key)) for key in ("proxy", "gold")]
    return f"{changes} {_meaning(wording.verdict(proxy), wording.verdict(gold), late)}"


def thirds(records: Sequence[Record]) -> list[list[Record]]:
    """The records of the first, the middle and the last third of the updates, over all runs."""
    steps = sorted({r["step"] for r in records})
    size = len(steps) // 3
    parts = steps[:size], steps[size : len(steps) - size], steps[len(steps) - size :]
    return [[r for r in records if r["step"] in part and r.get("proxy") and r.get("gold")] for part in parts]


ENDS = ("mean", "low", "high")
MEANING = {
    ("better", "better"): "Both rise together: the judge confirms the gain in the reward model’s score.",
    ("better", "worse"): (
        "They diverge: the policy found texts that its reward model likes and the judge does not: reward hacking."
    ),
    ("better", "undecided"): (
        "The judge does not confirm the gain in the reward model’s score: it is the first sign of reward hacking, or "
        "too small to show in so few texts."
    ),
}


def _meaning(proxy: str, gold: str, late: list[str]) -> str:
    if (proxy, gold) == ("better", "better") and late[0] == "better" and late[1] != "better":
        trend = "fell" if late[1] == "worse" else "no longer rose clearly"
        return (
            f"Since the middle third, however, the judge’s score {trend} while the reward model’s still rose: the "
            "first sign of reward hacking."
        )
    if proxy != "better":
        return "The reward model’s score did not clearly rise: the curves say nothing about reward hacking."
    return MEANING[proxy, gold]


def _moved(by: Mapping[str, float]) -> str:
    ends = f"95 % interval {wording.range_of(by, signed=True)}"
    direction = wording.verdict(by)
    if direction == "undecided":
        return f"did not clearly change ({wording.number(by['mean'], signed=True)}, {ends})"
    return f"{'rose' if direction == 'better' else 'fell'} by {wording.number(abs(by['mean']))} ({ends})"
