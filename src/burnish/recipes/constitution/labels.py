"""Soft labels from a judge's readings: the mean over both orders of the probability that an answer is better."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.evaluation.option_judges import share
from burnish.evaluation.readings import Reading
from burnish.evaluation.statistics import bootstrap_interval
from burnish.recipes.constitution.asking import first_unread, spent, totals
from burnish.recipes.constitution.calls import FEEDBACK
from burnish.recipes.constitution.comparing import Choice, Comparison
from burnish.recipes.label.pairs import Pair

Bounds = tuple[float, float]
UNCLAMPED: Bounds = (0.0, 1.0)
REASONED: Bounds = (0.4, 0.6)
"""What labels are clamped to where the judge reasons first, unless it is given."""


@dataclass(frozen=True)
class Judged:
    """A pair that was read in both orders.

    `shares` are the probabilities of the answer a among the two options, where it was option A and where it was B, and
    `mass` the probability of both option tokens among all tokens, the mean over orders.
    """

    choices: tuple[Choice, Choice]
    shares: tuple[float, float]
    mass: float

    @property
    def pair(self) -> Pair:
        return self.choices[0].pair

    @property
    def better(self) -> float:
        """The probability that the answer a is better."""
        return sum(self.shares) / 2

    @property
    def first(self) -> float:
        """The probability of the option that was shown first: the mean over orders, ½ for a judge without a bias."""
        return (self.shares[0] + 1 - self.shares[1]) / 2

    @property
    def turns(self) -> bool:
        """Whether the two orders prefer different answers."""
        return (self.shares[0] - 0.5) * (self.shares[1] - 0.5) < 0


def judged(asked: Comparison, readings: Mapping[str, Reading]) -> Judged | None:
    """The pair that was asked about; None where one of its questions has no answer."""
    choices = asked.final(readings)
    found = [readings[one.key].logprobs if one.key in readings else None for one in choices or ()]
    if choices is None or found[0] is None or found[1] is None:
        return None
    shares = share(found[0]), 1 - share(found[1])
    return Judged(choices, shares, sum(map(math.exp, (*found[0], *found[1]))) / 2)


def row(one: Judged, name: str, bounds: Bounds = UNCLAMPED) -> dict[str, Any]:
    """A label: a comparison with the confidence that the chosen answer is better, and where it comes from.

    `probabilities` are those of the chosen answer where it was option A, and where it was option B. The confidence is
    their mean within the `bounds`.
    """
    pair, a = one.pair, one.better >= 0.5
    chosen, rejected = (pair.a, pair.b) if a else (pair.b, pair.a)
    probabilities = list(one.shares) if a else [1 - one.shares[1], 1 - one.shares[0]]
    found = {"prompt": pair.prompt, "chosen": chosen, "rejected": rejected}
    found["confidence"] = clamped(sum(probabilities) / 2, bounds)
    found |= {"principle": one.choices[0].principle, "probabilities": probabilities, "judge": name}
    return found | {"source": pair.source, "row": pair.row} | dict(pair.options)


def clamped(probability: float, bounds: Bounds) -> float:
    """The nearest number within the bounds."""
    return min(max(probability, bounds[0]), bounds[1])


def summary(
    asked: Sequence[Comparison],
    found: Sequence[Judged],
    readings: Mapping[str, Reading],
    requests: int,
    bounds: Bounds = UNCLAMPED,
) -> dict[str, Any]:
    """What became of the pairs, and what the judge is like."""
    told: dict[str, Any] = {"part": FEEDBACK, "pairs": len(asked), "labels": len(found)}
    told |= totals(asked, len(found), readings, requests)
    if found:
        told["position_bias"] = bootstrap_interval([one.first for one in found]).as_dict()
        told["orders_disagree"] = sum(one.turns for one in found)
        told["option_mass"] = sum(one.mass for one in found) / len(found)
        certain = [max(one.better, 1 - one.better) for one in found]
        told["confidence"] = sum(clamped(one, bounds) for one in certain) / len(found)
        told["clamped"] = sum(clamped(one, bounds) != one for one in certain)
        told["principles"] = dict(Counter(one.choices[0].principle for one in found).most_common())
    return told


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The summary in words."""
    lines = [f"{found['labels']:,} of {found['pairs']:,} pairs are labelled ({spent(found)})"]
    if found.get("left_out"):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in found["left_out"].items())
        lines.append(f"{sum(found['left_out'].values()):,} pairs of the data are left out: {reasons}")
    if found["unread"]:
        lines.append(
            f"{found['unread']:,} pairs have an answer that cannot be read, and no label; {first_unread(found)}"
        )
    if found["not_asked"]:
        lines.append(f"{found['not_asked']:,} pairs are not asked about yet: raise the budget to go on")
    if found["labels"]:
        bias = found["position_bias"]
        lines.append(
            f"position bias: the option shown first has {bias['mean']:.1%} [{bias['low']:.1%}, {bias['high']:.1%}] "
            f"(50 % without one); the orders disagree in {found['orders_disagree']:,} pairs"
        )
        within = f" ({found['clamped']:,} labels are clamped)" if found["clamped"] else ""
        lines.append(
            f"mean confidence {found['confidence']:.3f}{within}; A and B together have {found['option_mass']:.1%} of "
            "the judge's next token"
        )
    if told := warning(found):
        lines.append(told)
    return lines


def warning(found: Mapping[str, Any]) -> str | None:
    """A sentence where the labels mean little, by what the summary says of the judge."""
    reasons = []
    if found["labels"] and found["option_mass"] < 0.5:
        reasons.append("A and B have less than half of the judge's next token")
    if found["labels"] and 2 * found["orders_disagree"] > found["labels"]:
        reasons.append("the two orders prefer different answers in more than half of the pairs")
    return f"warning: these labels mean little: {' and '.join(reasons)}" if reasons else None
