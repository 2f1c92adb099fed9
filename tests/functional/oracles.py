"""Slow, plain versions of burnish.functional: nested loops over Python floats, without recursion or `torch.where`.

Each is written from its definition, as a sum over the steps that count, so that it shares no trick with the code.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def each_run(function: Callable[..., list], lead: int, *arguments: Tensor) -> Tensor:
    """Apply an oracle of one run's nested lists to each index of the first `lead` dimensions."""
    if lead == 0:
        return torch.tensor(function(*(argument.tolist() for argument in arguments)), dtype=torch.float64)
    runs = range(arguments[0].shape[0])
    return torch.stack([each_run(function, lead - 1, *(argument[run] for argument in arguments)) for run in runs])


def real_values(x: list[list[float]], mask: list[list[bool]]) -> list[float]:
    return [x[b][t] for b in range(len(x)) for t in range(len(x[b])) if mask[b][t]]


def standardised(x: list[list[float]], mask: list[list[bool]], eps: float) -> list[list[float]]:
    real = real_values(x, mask)
    mean = math.fsum(real) / len(real) if real else 0.0
    variance = math.fsum((value - mean) ** 2 for value in real) / len(real) if real else 0.0
    return [
        [(x[b][t] - mean) / math.sqrt(variance + eps) if mask[b][t] else 0.0 for t in range(len(x[b]))]
        for b in range(len(x))
    ]


def aggregated(losses: list[list[float]], mask: list[list[bool]], over: str, total: float | None) -> float:
    if over == "sequence":
        rows = []
        for b in range(len(losses)):
            real = [losses[b][t] for t in range(len(losses[b])) if mask[b][t]]
            if real:
                rows.append(math.fsum(real) / len(real))
        return math.fsum(rows) / (len(rows) if total is None else total) if rows else 0.0
    real = real_values(losses, mask)
    return math.fsum(real) / (len(real) if total is None else total) if real else 0.0


def returned(
    rewards: list[list[float]], discounts: list[list[float]], mask: list[list[bool]], bootstrap: list[float]
) -> list[list[float]]:
    """For each chosen step, its own sum over the chosen steps from there on, gaps left out, and the bootstrap."""
    result = []
    for b in range(len(rewards)):
        row = [0.0] * len(rewards[b])
        chosen = [t for t in range(len(row)) if mask[b][t]]
        for i, start in enumerate(chosen):
            weight = 1.0
            for t in chosen[i:]:
                row[start] += weight * rewards[b][t]
                weight *= discounts[b][t]
            if weight != 0.0:
                row[start] += weight * bootstrap[b]
        result.append(row)
    return result


def advantages(
    rewards: list[list[float]],
    values: list[list[float]],
    discounts: list[list[float]],
    mask: list[list[bool]],
    lambda_: float,
) -> list[list[float]]:
    """For each chosen step, its own sum of temporal-difference errors over the chosen steps from there on.

    The next value is that of the next chosen step, and after the last one that of the column behind it.
    """
    result = []
    for b in range(len(rewards)):
        row = [0.0] * len(rewards[b])
        chosen = [t for t in range(len(row)) if mask[b][t]]
        for i, start in enumerate(chosen):
            weight = 1.0
            for j in range(i, len(chosen)):
                t = chosen[j]
                following = chosen[j + 1] if j + 1 < len(chosen) else t + 1
                bootstrap = discounts[b][t] * values[b][following] if discounts[b][t] != 0.0 else 0.0
                row[start] += weight * (rewards[b][t] + bootstrap - values[b][t])
                weight *= discounts[b][t] * lambda_
        result.append(row)
    return result


def shaped(
    scores: list[float],
    logprobs: list[list[float]],
    ref_logprobs: list[list[float]],
    mask: list[list[bool]],
    beta: float,
) -> list[list[float]]:
    result = []
    for b in range(len(logprobs)):
        row = [0.0] * len(logprobs[b])
        real = [t for t in range(len(row)) if mask[b][t]]
        for t in real:
            row[t] = -beta * (logprobs[b][t] - ref_logprobs[b][t])
        if real:
            row[real[-1]] += scores[b]
        result.append(row)
    return result
