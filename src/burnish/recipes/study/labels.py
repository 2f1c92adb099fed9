"""Pairs of completions, labelled as a noisy human would label them."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

Pair = dict[str, Any]


def preferred(first: float, second: float, scale: float) -> float:
    """The probability that the first of two texts is preferred: σ((first − second) / scale).

    Bradley & Terry (1952), "Rank Analysis of Incomplete Block Designs".
    """
    return float(expit((first - second) / scale))


def labelled(
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]],
    usable: Sequence[Sequence[bool]],
    scores: Float[np.ndarray, "N k"],
    scale: float,
    seed: int,
    apart: bool = False,
) -> list[Pair]:
    """Every two usable, different completions of a prompt as a pair; a draw from `preferred` says which is chosen.

    With `apart` no completion is in two pairs: the first and the second are one, the third and the fourth, and so on.

    A completion that was cut at the length limit is not usable, as it would get an end that it never had. Each pair
    has one number of the seed's stream, also where it is left out. `right` says whether the label agrees with the
    scores, and `gap` is the score of the chosen one less that of the other; no method reads them.
    """
    draws = np.random.default_rng(seed)
    found = []
    for i, prompt in enumerate(prompts):
        k = len(responses[i])
        for a, b in zip(range(0, k - 1, 2), range(1, k, 2), strict=True) if apart else combinations(range(k), 2):
            wins = draws.random() < preferred(scores[i, a], scores[i, b], scale)
            if not (usable[i][a] and usable[i][b]) or responses[i][a] == responses[i][b]:
                continue
            chosen, rejected = (a, b) if wins else (b, a)
            gap = float(scores[i, chosen] - scores[i, rejected])
            texts = {"chosen": responses[i][chosen], "rejected": responses[i][rejected]}
            found.append({"prompt": prompt} | texts | {"right": gap >= 0, "gap": gap})
    return found


def unlabelled(pairs: Sequence[Pair]) -> list[Pair]:
    """The two responses of each pair in an order that says nothing, and the score of the first less that of the second;
    see `drawn_labels`."""
    return [
        {"prompt": one["prompt"], "first": min(sides), "second": max(sides)}
        | {"gap": one["gap"] if sides[0] < sides[1] else -one["gap"]}
        for one in pairs
        for sides in [(one["chosen"], one["rejected"])]
    ]


def drawn_labels(pairs: Sequence[Pair], scale: float, seed: Sequence[int]) -> list[Pair]:
    """Labels of `unlabelled` pairs: a draw from `preferred` each, which has its number of the seed's stream. `right`
    says whether the label agrees with the scores."""
    found = []
    for one, draw in zip(pairs, np.random.default_rng(seed).random(len(pairs)), strict=True):
        wins = bool(draw < preferred(one["gap"], 0.0, scale))
        chosen, rejected = ("first", "second") if wins else ("second", "first")
        right = one["gap"] == 0 or wins == (one["gap"] > 0)
        found.append({"prompt": one["prompt"], "chosen": one[chosen], "rejected": one[rejected], "right": right})
    return found


def comparisons(pairs: Sequence[Pair]) -> list[Pair]:
    """The columns that methods read."""
    return [{key: one[key] for key in ("prompt", "chosen", "rejected")} for one in pairs]


def feedback(pairs: Sequence[Pair]) -> list[Pair]:
    """Both responses of each pair as feedback, as libraries give pairs to KTO."""
    sides = (("chosen", True), ("rejected", False))
    return [{"prompt": one["prompt"], "completion": one[side], "label": good} for one in pairs for side, good in sides]


def demonstrations(pairs: Sequence[Pair]) -> list[Pair]:
    """The preferred response of each pair, to imitate."""
    return [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs]
