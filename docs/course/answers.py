"""Answers to the exercises, which the build of the course checks."""

import math
from collections.abc import Sequence


def returns(rewards: Sequence[float], gamma: float) -> list[float]:
    found, to_come = [], 0.0
    for reward in reversed(rewards):
        to_come = reward + gamma * to_come
        found.append(to_come)
    return found[::-1]


def exact_gradient(probabilities: Sequence[float], rewards: Sequence[float]) -> list[float]:
    # ∂π(a)/∂logit_i = π(a)·([a = i] − π(i)), so that the sum over a leaves π(i) times how far r(i) is above the mean.
    expected = sum(p * r for p, r in zip(probabilities, rewards, strict=True))
    return [p * (r - expected) for p, r in zip(probabilities, rewards, strict=True)]


def gradient_variance(probabilities: Sequence[float], rewards: Sequence[float], baseline: float) -> float:
    actions = range(len(rewards))
    variance = 0.0
    for i in actions:
        estimates = [(rewards[a] - baseline) * ((a == i) - probabilities[i]) for a in actions]
        mean = sum(probabilities[a] * estimates[a] for a in actions)
        variance += sum(probabilities[a] * (estimates[a] - mean) ** 2 for a in actions)
    return variance


def best_baseline(probabilities: Sequence[float], rewards: Sequence[float]) -> float:
    # The mean does not depend on b, so E‖estimate‖² is to be least: Σ π(a)·‖∇log π(a)‖²·(r(a) − b)², a parabola in b.
    actions = range(len(rewards))
    weights = [
        probabilities[a] * sum(((a == i) - probabilities[i]) ** 2 for i in actions)  # π(a)·‖∇log π(a)‖²
        for a in actions
    ]
    return sum(w * r for w, r in zip(weights, rewards, strict=True)) / sum(weights)


def advantages(rewards: Sequence[float], values: Sequence[float], gamma: float, lambda_: float) -> list[float]:
    found, carried = [], 0.0
    for t in reversed(range(len(rewards))):
        error = rewards[t] + gamma * values[t + 1] - values[t]
        carried = error + gamma * lambda_ * carried
        found.append(carried)
    return found[::-1]


def weights(steps: int, lambda_: float) -> list[float]:
    # Those that look further than the episode goes are all the last one: their weights come together in it.
    return [(1 - lambda_) * lambda_ ** (n - 1) for n in range(1, steps)] + [lambda_ ** (steps - 1)]


def fisher_times(probabilities: Sequence[float], vector: Sequence[float]) -> list[float]:
    mean = sum(p * v for p, v in zip(probabilities, vector, strict=True))
    return [p * (v - mean) for p, v in zip(probabilities, vector, strict=True)]


def natural_step(gradient: Sequence[float], fisher: Sequence[float], max_kl: float) -> list[float]:
    direction = [g / f for g, f in zip(gradient, fisher, strict=True)]  # F⁻¹ g
    curvature = sum(f * s * s for f, s in zip(fisher, direction, strict=True))
    return [math.sqrt(2 * max_kl / curvature) * s for s in direction]


def still_pulls(ratio: float, advantage: float, clip: float) -> bool:
    return ratio < 1 + clip if advantage > 0 else ratio > 1 - clip


def most_to_gain(advantages: Sequence[float], clip: float) -> float:
    # Good actions count up to 1 + clip, bad ones down to 1 − clip, and no further.
    return clip * sum(abs(a) for a in advantages) / len(advantages)


def probability_of_label(first: Sequence[float], second: Sequence[float], error: float) -> float:
    sure = 1 / (1 + math.exp(sum(second) - sum(first)))
    return (1 - error) * sure + error / 2


def best_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> list[float]:
    # π* ∝ reference · exp(r/β); the greatest reward is taken off first, so that nothing overflows.
    top = max(rewards)
    weights = [p * math.exp((r - top) / beta) for p, r in zip(reference, rewards, strict=True)]
    return [w / sum(weights) for w in weights]
