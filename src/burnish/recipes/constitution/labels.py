"""Soft labels from a judge's readings: the mean over both orders of the probability that an answer is better."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.evaluation.option_judges import Reading, share
from burnish.evaluation.statistics import bootstrap_interval
from burnish.recipes.constitution.calls import Call


@dataclass(frozen=True)
class Judged:
    """A pair that was read in both orders.

    `shares` are the probabilities of the answer a among the two options, where it was option A and where it was B, and
    `mass` the probability of both option tokens among all tokens, the mean over orders.
    """

    calls: tuple[Call, Call]
    shares: tuple[float, float]
    mass: float

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


def judged(calls: tuple[Call, Call], readings: Mapping[str, Reading]) -> Judged | None:
    """The pair of these calls; None where one of them has no answer."""
    found = [readings[one.key].logprobs if one.key in readings else None for one in calls]
    if found[0] is None or found[1] is None:
        return None
    shares = share(found[0]), 1 - share(found[1])
    return Judged(calls, shares, sum(map(math.exp, (*found[0], *found[1]))) / 2)


def row(one: Judged, name: str) -> dict[str, Any]:
    """A label: a comparison with the confidence that the chosen answer is better, and where it comes from.

    `probabilities` are those of the chosen answer where it was option A, and where it was option B.
    """
    pair, a = one.calls[0].pair, one.better >= 0.5
    chosen, rejected = (pair.a, pair.b) if a else (pair.b, pair.a)
    probabilities = list(one.shares) if a else [1 - one.shares[1], 1 - one.shares[0]]
    found = {"prompt": pair.prompt, "chosen": chosen, "rejected": rejected, "confidence": sum(probabilities) / 2}
    found |= {"principle": one.calls[0].principle, "probabilities": probabilities, "judge": name}
    return found | {"row": pair.row} | dict(pair.options)


def summary(
    asked: Sequence[tuple[Call, Call]], found: Sequence[Judged], readings: Mapping[str, Reading], requests: int
) -> dict[str, Any]:
    """What became of the pairs, and what the judge is like."""
    answers = [readings.get(call.key) for calls in asked for call in calls]
    unread = [one for one in answers if one is not None and one.logprobs is None]
    totals: dict[str, Any] = {"pairs": len(asked), "labels": len(found)}
    totals["unread"] = sum(any(unreadable(readings.get(one.key)) for one in calls) for calls in asked)
    totals["not_asked"] = len(asked) - len(found) - totals["unread"]
    totals |= {"calls": len(answers) - answers.count(None), "unread_calls": len(unread), "requests": requests}
    totals["problems"] = dict(Counter(one.problem for one in unread).most_common(5))
    if found:
        totals["position_bias"] = bootstrap_interval([one.first for one in found]).as_dict()
        totals["orders_disagree"] = sum(one.turns for one in found)
        totals["option_mass"] = sum(one.mass for one in found) / len(found)
        totals["confidence"] = sum(max(one.better, 1 - one.better) for one in found) / len(found)
        totals["principles"] = dict(Counter(one.calls[0].principle for one in found).most_common())
    return totals


def unreadable(reading: Reading | None) -> bool:
    """Whether a call was made and has no answer."""
    return reading is not None and reading.logprobs is None


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The summary in words."""
    lines = [f"{found['labels']:,} of {found['pairs']:,} pairs are labelled ({found['requests']:,} requests)"]
    if found["unread"]:
        problem = next(iter(found["problems"]))
        lines.append(f"{found['unread']:,} pairs have an answer that cannot be read, and no label: {problem}")
    if found["not_asked"]:
        lines.append(f"{found['not_asked']:,} pairs are not asked about yet: raise --budget to go on")
    if found["labels"]:
        bias = found["position_bias"]
        lines.append(
            f"position bias: the option shown first has {bias['mean']:.1%} [{bias['low']:.1%}, {bias['high']:.1%}] "
            f"(50 % without one); the orders disagree in {found['orders_disagree']:,} pairs"
        )
        lines.append(
            f"mean confidence {found['confidence']:.3f}; A and B together have {found['option_mass']:.1%} of the "
            "judge's next token"
        )
    return lines
