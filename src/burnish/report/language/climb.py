"""How PPO climbs its reward model, and whether the judge, which it never saw, agrees.

A record is one rollout: `run`, `step` (updates before it) and the intervals `proxy`, `gold` and `kl` of its texts.
Where the reward model's score rises and the judge's does not, the policy exploits its reward model (Gao et al. 2022,
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
CHARTS = [("proxy", "Score of the reward model"), ("gold", "Gold score of the judge"), ("kl", "KL to {} (nats)")]


def climb_figures(records: Sequence[Record], colours: Colours, name: str, baseline: str) -> list[Figure]:
    """A chart each of the reward model's score, the judge's and the KL over the updates of model `name`."""
    found = []
    for key, title in CHARTS:
        rows = [
            {"name": name, "run": str(r.get("run", "")), "step": r["step"]} | {end: r[key][end] for end in ENDS}
            for r in records
            if r.get(key)
        ]
        if rows:
            title = title.format(baseline)
            spoken = f"{title} along the training of {name}: from {rows[0]['mean']:.2f} to {rows[-1]['mean']:.2f}."
            found.append(figure(f"climb-{key}", bands(pd.DataFrame(rows), colours, title, "updates", spoken)))
    return found


def change(early: Sequence[Record], late: Sequence[Record], key: str) -> dict[str, float]:
    """How much higher the mean of `key` is in the late rollouts than in the early ones, with a 95 % interval.

    A rollout's half interval is 1.96 of its standard errors, and rollouts are sampled independently: the square of
    the half interval of a mean of k is Σ hᵢ² / k², that of a difference is the sum of both.
    """
    means, squares = [], 0.0
    for part in (early, late):
        means.append(sum(r[key]["mean"] for r in part) / len(part))
        squares += sum(((r[key]["high"] - r[key]["low"]) / 2) ** 2 for r in part) / len(part) ** 2
    difference, half = means[1] - means[0], math.sqrt(squares)
    return {"mean": difference, "low": difference - half, "high": difference + half}


def climb_sentences(records: Sequence[Record], name: str) -> str:
    """What the two scores did from the first third of the rollouts to the last, and what follows; empty for few."""
    first, second, third = thirds(records)
    if not (first and second and third):
        return ""
    proxy, gold = (change(first, third, key) for key in ("proxy", "gold"))
    told = (
        f"From the first third of {name}’s training to the last, the reward model’s score of its texts "
        f"{_moved(proxy)}, and the judge’s gold score {_moved(gold)}."
    )
    late = [wording.verdict(change(second, third, key)) for key in ("proxy", "gold")]
    return f"{told} {_meaning(wording.verdict(proxy), wording.verdict(gold), late)}"


def thirds(records: Sequence[Record]) -> list[list[Record]]:
    """The records of the first, the middle and the last third of the updates, over all runs."""
    steps = sorted({r["step"] for r in records})
    size = len(steps) // 3
    parts = steps[:size], steps[size : len(steps) - size], steps[len(steps) - size :]
    return [[r for r in records if r["step"] in part and r.get("proxy") and r.get("gold")] for part in parts]


ENDS = ("mean", "low", "high")
MEANING = {
    ("better", "better"): "Both rise together: what the policy gains from its reward model, the judge sees too.",
    ("better", "worse"): (
        "They part: the policy found what its reward model likes and the judge does not. That is reward hacking."
    ),
    ("better", "undecided"): (
        "The judge does not confirm what the reward model sees, which is the first sign of reward hacking, or the "
        "gain is too small for so few texts."
    ),
}


def _meaning(proxy: str, gold: str, late: list[str]) -> str:
    if (proxy, gold) == ("better", "better") and late[0] == "better" and late[1] != "better":
        held = "fell" if late[1] == "worse" else "no longer rose clearly"
        return (
            f"Since the middle third, though, the judge’s score {held} while the reward model’s still rose: the first "
            "sign of reward hacking."
        )
    if proxy != "better":
        return "The policy did not clearly climb its reward model, so these curves say nothing of reward hacking."
    return MEANING[proxy, gold]


def _moved(by: Mapping[str, float]) -> str:
    ends = f"95 % interval {wording.range_of(by, signed=True)}"
    how = wording.verdict(by)
    if how == "undecided":
        return f"did not clearly change ({wording.number(by['mean'], signed=True)}, {ends})"
    return f"{'rose' if how == 'better' else 'fell'} by {wording.number(abs(by['mean']))} ({ends})"
