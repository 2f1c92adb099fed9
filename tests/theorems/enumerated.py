"""Objectives over all pairs of responses, written out with loops over responses and words, from a softmax of their own.

Nothing is sampled, and no loss or gradient here is computed by Burnish.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import grouped
import torch
from grouped import World
from tabular import TablePolicy
from torch import Tensor

Losses = Callable[[list[Tensor], list[float], list[float]], list[Tensor]]
"""The loss of each word, from its log-probabilities now and before the updates, and what it is credited with."""


def words_of(found: World) -> list[list[int]]:
    return [
        [t for t, real in zip(*row, strict=True) if real]
        for row in zip(found.tokens.tolist(), found.mask.tolist(), strict=True)
    ]


def path(words: list[int]) -> list[int]:
    """The states in which the words of a response are chosen."""
    found, state, first = [], 0, 0
    for t, word in enumerate(words):
        found.append(first + state)
        first, state = first + grouped.WORDS**t, state * grouped.WORDS + word
    return found


def logprobs_of(logits: Tensor, words: list[int]) -> list[Tensor]:
    """log π of each word, by a walk from state to state."""
    rows = [logits[state] for state in path(words)]
    return [row[word] - row.exp().sum().log() for row, word in zip(rows, words, strict=True)]


def numbers_of(logits: Tensor, found: World) -> list[list[float]]:
    """`logprobs_of` every response, without a gradient."""
    return [[x.item() for x in logprobs_of(logits.detach(), words)] for words in words_of(found)]


def visits_of(found: World) -> Tensor:
    """How often each state chooses a word, in a response of the old policy."""
    visits = torch.zeros(grouped.STATES, dtype=torch.float64)
    for words, row in zip(words_of(found), numbers_of(found.old.logits, found), strict=True):
        for state in path(words):
            visits[state] += math.exp(sum(row))
    return visits


def objective_gradient(found: World, beta: float) -> Tensor:
    """∇ of E[r] − β KL(π‖π_ref) over whole responses, exactly."""
    leaf = found.policy.logits.detach().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for words, score in zip(words_of(found), found.scores.tolist(), strict=True):
        one = sum(logprobs_of(leaf, words), torch.zeros(()))
        other = sum(logprobs_of(found.reference.logits.detach(), words), torch.zeros(()))
        total = total + one.exp() * (score - beta * (one - other))
    return torch.autograd.grad(total, leaf)[0]


def elsewhere(found: World) -> World:
    """The same, sampled from another distribution than the policy's."""
    logits = found.old.logits.detach()
    return replace(found, sampler=TablePolicy(logits + 0.5 * grouped.numbers(*logits.shape, seed=9)))


# Losses ------------------------------------------------------------------------------------------------------------


def clipped(low: float, high: float, dual: float = math.inf) -> Losses:
    def losses(new: list[Tensor], old: list[float], credits: list[float]) -> list[Tensor]:
        found = []
        for n, o, credit in zip(new, old, credits, strict=True):
            ratio = (n - o).exp()
            gain = torch.minimum(ratio * credit, ratio.clamp(1 - low, 1 + high) * credit)
            found.append(-(gain if credit >= 0 else gain.clamp(min=dual * credit)))
        return found

    return losses


def sequence_clipped(low: float, high: float, mean: bool) -> Losses:
    def losses(new: list[Tensor], old: list[float], credits: list[float]) -> list[Tensor]:
        (credit,) = set(credits)
        ratio = ((sum(new) - sum(old)) / (len(old) if mean else 1)).exp()  # type: ignore[operator, union-attr]
        return [-torch.minimum(ratio * credit, ratio.clamp(1 - low, 1 + high) * credit)] * len(old)

    return losses


def weighted(low: float, high: float) -> Losses:
    def losses(new: list[Tensor], old: list[float], credits: list[float]) -> list[Tensor]:
        ratios = [math.exp(n.item() - o) for n, o in zip(new, old, strict=True)]
        return [-min(max(r, 1 - low), 1 + high) * c * n for r, c, n in zip(ratios, credits, new, strict=True)]

    return losses


def plain_losses(new: list[Tensor], old: list[float], credits: list[float]) -> list[Tensor]:
    return [-credit * n for n, credit in zip(new, credits, strict=True)]


def half_square(new: Tensor, ref: float) -> Tensor:
    """What k2 is of a word."""
    return (new - ref) ** 2 / 2


def bregman(new: Tensor, ref: float) -> Tensor:
    """What k3 is of a word."""
    return (ref - new).exp() - 1 - (ref - new)


# What a score is worth ---------------------------------------------------------------------------------------------


def standardised(own: float, other: float, correction: int = 1, eps: float = 1e-6) -> float:
    mean = (own + other) / 2
    deviation = math.sqrt(((own - mean) ** 2 + (other - mean) ** 2) / (2 - correction))
    return (own - mean) / (deviation + eps) if own != other else 0.0


def centred(own: float, other: float) -> float:
    return (own - other) / 2


def left_out(own: float, other: float) -> float:
    return own - other


def alone(own: float, other: float) -> float:
    return own


# Importance weights ------------------------------------------------------------------------------------------------


def importance(kind: str, level: str, low: float, high: float) -> Callable[[list[float], list[float]], list[float]]:
    """π_old/μ of each word of a response, limited (`truncate`) or 0 outside of the range (`mask`)."""

    def weights(old: list[float], sampler: list[float]) -> list[float]:
        logs = [o - s for o, s in zip(old, sampler, strict=True)]
        if level != "token":
            logs = [sum(logs) / (len(logs) if level == "sequence_mean" else 1)] * len(logs)
        plain = [math.exp(x) for x in logs]
        return [min(max(w, low), high) if kind == "truncate" else w * (low <= w <= high) for w in plain]

    return weights


# The objective -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """The objective that a method names.

    `credit(own, other)` is what a response with this score gets. The price of the log-ratio to the reference is
    `in_score`, `in_reward` (a word pays for itself and all that follow) or, as `price` of a word, `in_loss`. `whole`
    standardises what words get over all words of all pairs, `weights` are those of a sampler that is not the policy.
    """

    losses: Losses
    over: str
    credit: Callable[[float, float], float]
    in_score: float = 0.0
    in_reward: float = 0.0
    in_loss: float = 0.0
    price: Callable[[Tensor, float], Tensor] = bregman
    whole: bool = False
    weights: Callable[[list[float], list[float]], list[float]] | None = None

    def gradient(self, found: World) -> Tensor:
        """∇ of Σ_{y,z} μ(y) μ(z)·average of both responses' losses, μ being what sampled."""
        leaf = found.policy.logits.detach().clone().requires_grad_()
        new = [logprobs_of(leaf, words) for words in words_of(found)]
        old, ref, sampler = (
            numbers_of(model.logits, found) for model in (found.old, found.reference, found.sampler or found.old)
        )
        credits, total = self.credits(found, old, ref), torch.zeros((), dtype=torch.float64)

        def losses(one: int, other: int) -> list[Tensor]:
            plain = self.losses(new[one], old[one], credits[one][other])
            if self.weights is not None:
                plain = [w * x for w, x in zip(self.weights(old[one], sampler[one]), plain, strict=True)]
            if not self.in_loss:
                return plain
            prices = [self.in_loss * self.price(n, r) for n, r in zip(new[one], ref[one], strict=True)]
            return [x + price for x, price in zip(plain, prices, strict=True)]

        for y in range(len(new)):
            for z in range(y + 1):  # a pair and its mirror image have one loss
                chance = math.exp(sum(sampler[y]) + sum(sampler[z])) * (2 if z < y else 1)
                total = total + chance * averaged([losses(y, z), losses(z, y)], self.over)
        return torch.autograd.grad(total, leaf)[0]

    def credits(self, found: World, old: list[list[float]], ref: list[list[float]]) -> list[list[list[float]]]:
        """What each word of a response gets beside another: by the response, the other one, and the word."""
        ratios = [[o - r for o, r in zip(*rows, strict=True)] for rows in zip(old, ref, strict=True)]
        scores = [s - self.in_score * sum(row) for s, row in zip(found.scores.tolist(), ratios, strict=True)]
        every = range(len(scores))
        table = [
            [
                [self.credit(scores[y], scores[z]) - self.in_reward * sum(ratios[y][t:]) for t in range(len(old[y]))]
                for z in every
            ]
            for y in every
        ]
        if not self.whole:
            return table
        flat = [x for rows in table for row in rows for x in row]
        mean = math.fsum(flat) / len(flat)
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in flat) / len(flat) + 1e-8)
        return [[[(x - mean) / deviation for x in row] for row in rows] for rows in table]


def averaged(losses: list[list[Tensor]], over: str) -> Tensor:
    """The word losses of two responses as one number."""
    sums = [sum(row, torch.zeros(())) for row in losses]
    if over == "sequence":
        return sum(s / len(row) for s, row in zip(sums, losses, strict=True)) / 2
    count = {"sum": 2, "token": sum(map(len, losses)), "constant": 2 * (grouped.LENGTH + 1)}[over]
    return (sums[0] + sums[1]) / count
