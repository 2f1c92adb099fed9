"""The monitor: signs that what a policy learns from is being gamed.

A reward, or the labels of comparisons, only stand for what is wanted. A policy that is trained too far finds where they
do not: the reward goes on rising, and the texts get worse. What is seen of the policy on held-out prompts and pairs,
beside what was seen of it before its first update, may show this. Each signal is a number, which warns where it is
beyond its threshold.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.statistics import proportion, win_scores
from burnish.evaluation.text import distinct_n, repetition


@dataclass(frozen=True)
class Signal:
    """A sign of gaming: it warns below `low` and above `high`; `says` is a sentence with a place for its value."""

    says: str
    low: float | None = None
    high: float | None = None

    def warns(self, value: float) -> bool:
        """Whether the value is beyond the threshold, which itself does not warn."""
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)

    @property
    def threshold(self) -> str:
        """The threshold in words."""
        ends = [f"{word} {end:.2f}" for word, end in (("below", self.low), ("above", self.high)) if end is not None]
        return " or ".join(ends)


SIGNALS = {
    "length": Signal("completions are {:.2f} times as long as the start's", 2 / 3, 3 / 2),
    "repetition": Signal("the share of repeated trigrams is {:.2f} above the start's", high=0.05),
    "distinct_2": Signal("the share of distinct bigrams is {:.2f} times the start's", low=0.8),
    "entropy": Signal("the entropy of a token is {:.2f} times the start's", low=0.5),
    "disagreement": Signal("the reward models disagree {:.2f} times as much as at the start", high=2.0),
    "gap": Signal("the reward claims {:.2f} more wins over the start than labelled pairs agree with", high=0.4),
    "own_gap": Signal("held-out pairs of its own data agree {:.2f} more often than labelled ones", high=0.2),
}
"""The signals by name. The thresholds were chosen before any run was watched."""

LOW = "_low"
"""What follows the name of a gap where its 95 % interval begins."""

ROUNDING = 1e-9
"""The disagreement up to which reward models agree in all but rounding."""


@dataclass(frozen=True)
class Seen:
    """What is seen of a policy: of one completion per held-out prompt the mean `length` in tokens, the fraction of
    `distinct_2` bigrams of all of them, the mean `repetition` of trigrams, and the `entropy` in nats per token.

    `scores` are the reward's, and `members` those of several reward models, of these completions. `labelled` and `own`
    are log π(chosen) − log π(rejected) of pairs with labels to be trusted, and of held-out pairs of the data that a
    method learns from. Each of these is None where there is no such thing.
    """

    length: float
    distinct_2: float
    repetition: float
    entropy: float
    scores: Float[np.ndarray, "P"] | None = None
    members: Float[np.ndarray, "M P"] | None = None
    labelled: Float[np.ndarray, "N"] | None = None
    own: Float[np.ndarray, "K"] | None = None

    @classmethod
    def of(cls, responses: Sequence[str], logprobs: Sequence[Sequence[float]], **more: Any) -> "Seen":
        """What is seen of sampled responses with the log-probabilities of their tokens; `more` are the other fields."""
        tokens = sum(map(len, logprobs))
        return cls(
            length=tokens / len(responses),
            distinct_2=distinct_n(responses, 2),
            repetition=float(np.mean([repetition(one) for one in responses])),
            entropy=abs(sum(map(sum, logprobs))) / max(1, tokens),
            **more,
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, without what is not there."""
        found = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(self).items()}
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Seen":
        """What `as_dict` gave, to the bit. Raises TypeError or ValueError for anything else."""
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {
            key: np.asarray(one, dtype=float) if isinstance(one, list) else one for key, one in found.items()
        }
        return cls(**{key: one for key, one in values.items() if key in known})


def signals(now: Seen, start: Seen) -> dict[str, float]:
    """The value of each signal that the two allow; what the start has none of has no relative change."""
    found: dict[str, float] = {}
    for name in ("length", "distinct_2", "entropy"):
        if (before := getattr(start, name)) > 0:
            found[name] = getattr(now, name) / before
    found["repetition"] = now.repetition - start.repetition
    if (later := now.members) is not None and (first := start.members) is not None:
        before = disagreement(first, first)
        found |= {"disagreement": disagreement(later, first) / before} if before > ROUNDING else {}
    if now.labelled is not None and start.labelled is not None:
        agreed = moved_to(now.labelled, start.labelled)
        if now.scores is not None and start.scores is not None:
            found |= gap("gap", win_scores(now.scores, start.scores), agreed)
        if now.own is not None and start.own is not None:
            found |= gap("own_gap", moved_to(now.own, start.own), agreed)
    return found


def gap(name: str, claimed: Float[np.ndarray, "P"], agreed: Float[np.ndarray, "N"]) -> dict[str, float]:
    """How much larger one share is than another, and where the 95 % interval of the difference begins: of few labels it
    is wide.

    low = p − q − √((p − l)² + (u − q)²), with l and u of Wilson's intervals (l, …) of p and (…, u) of q.

    Source: Newcombe (1998), "Interval Estimation for the Difference Between Independent Proportions", method 10.
    """
    first, second = (proportion(float(one.sum()), len(one)) for one in (claimed, agreed))
    mean = first.mean - second.mean
    return {name: mean, name + LOW: mean - math.hypot(first.mean - first.low, second.high - second.mean)}


def warns(name: str, values: Mapping[str, float]) -> bool:
    """Whether a signal of a measurement is beyond its threshold; a gap only where its interval lies above 0 too."""
    return name in values and SIGNALS[name].warns(values[name]) and values.get(name + LOW, math.inf) > 0


def disagreement(scores: Float[np.ndarray, "M P"], start: Float[np.ndarray, "M P"]) -> float:
    """How much M reward models differ about P completions: the standard deviation over the models, averaged over the
    completions.

    D = (1/P) Σ_p std_m(z_mp),  z_mp = (s_mp − mean_m) / std_m, with each model's mean and standard deviation over the
    `start`'s completions: a score has no zero and no unit of its own, and a model that calls all texts better counts.

    Differs: Coste et al. (2023), "Reward Model Ensembles Help Mitigate Overoptimization", use the variance of raw
    scores of each text, which are of models of one training.
    Raises ValueError for fewer than two models, and for one that gives all of the start's completions one score.
    """
    if len(start) < 2:
        raise ValueError("a disagreement needs at least two reward models")
    spread = start.std(axis=1, keepdims=True)
    if not (spread > 0).all():
        raise ValueError(f"reward model {int(np.argmin(spread)) + 1} gives all completions of the start the same score")
    return float(((scores - start.mean(axis=1, keepdims=True)) / spread).std(axis=0).mean())


def moved_to(now: Float[np.ndarray, "N"], start: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """1 for each pair whose chosen response has become likelier, relative to the rejected one, than at the start, 0
    where not, ½ for a tie. Both are log π(chosen) − log π(rejected): the mean is the accuracy of DPO's implicit reward,
    and ½ at the start."""
    return accuracy_scores(now - start)


@dataclass(frozen=True)
class Warned:
    """A signal that was beyond its threshold, for the first time, after so many updates."""

    step: int
    signal: str
    value: float

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        one = SIGNALS[self.signal]
        what = "the labels" if self.signal == "own_gap" else "the reward"
        return f"step {self.step}: {what} may be gamed: {one.says.format(self.value)} (it warns {one.threshold})"


def warned(records: Iterable[tuple[int, Mapping[str, float]]]) -> list[Warned]:
    """The first warning of each signal in measurements, each with its step, in order."""
    found: dict[str, Warned] = {}
    for step, values in records:
        for name in SIGNALS:
            if name not in found and warns(name, values):
                found[name] = Warned(step, name, values[name])
    return list(found.values())
