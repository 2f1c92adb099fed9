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


def pull(difference: float, error: float) -> float:
    # p = (1 − ε)σ + ε/2, and dσ = σ(1 − σ). Without errors this is σ − 1: −1 for a label that the model finds absurd.
    sure = 1 / (1 + math.exp(-difference))
    return -(1 - error) * sure * (1 - sure) / ((1 - error) * sure + error / 2)


def imitation_loss(logprobs: Sequence[Sequence[float]], is_response: Sequence[Sequence[bool]]) -> float:
    pairs = [
        (logprob, counts)
        for text, mask in zip(logprobs, is_response, strict=True)
        for logprob, counts in zip(text, mask, strict=True)
    ]
    return -sum(logprob for logprob, counts in pairs if counts) / sum(counts for _, counts in pairs)


def above_the_least(shown: Sequence[float], policy: Sequence[float]) -> float:
    # The least is that of the policy π = shown, its entropy; the difference is KL(shown‖π).
    return sum(s * math.log(s / p) for s, p in zip(shown, policy, strict=True) if s > 0)


def best_accuracy(certainties: Sequence[float]) -> float:
    return sum(max(p, 1 - p) for p in certainties) / len(certainties)


def worth_gradient(worths: Sequence[float], labels: Sequence[tuple[int, int]]) -> list[float]:
    gradient = [0.0] * len(worths)
    for chosen, rejected in labels:
        surprise = 1 / (1 + math.exp(worths[chosen] - worths[rejected]))  # σ(−z)
        gradient[chosen] -= surprise
        gradient[rejected] += surprise
    return gradient


def shaped_returns(score: float, logprobs: Sequence[float], ref_logprobs: Sequence[float], beta: float) -> list[float]:
    found, to_come = [], score
    for logprob, ref_logprob in zip(reversed(logprobs), reversed(ref_logprobs), strict=True):
        to_come -= beta * (logprob - ref_logprob)
        found.append(to_come)
    return found[::-1]


def best_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> list[float]:
    # π* ∝ reference · exp(r/β); the greatest reward is taken off first, so that nothing overflows.
    top = max(rewards)
    weights = [p * math.exp((r - top) / beta) for p, r in zip(reference, rewards, strict=True)]
    return [w / sum(weights) for w in weights]


def implied_rewards(policy: Sequence[float], reference: Sequence[float], beta: float) -> list[float]:
    rewards = [beta * math.log(p / q) for p, q in zip(policy, reference, strict=True)]
    return [reward - rewards[0] for reward in rewards]


def dpo_pull(chosen: float, rejected: float, beta: float) -> float:
    return -beta / (1 + math.exp(beta * (chosen - rejected)))  # −β σ(−z)


def optimum(reference: Sequence[float], rewards: Sequence[float], beta: float) -> tuple[float, float]:
    weights = [p * math.exp((r - max(rewards)) / beta) for p, r in zip(reference, rewards, strict=True)]
    policy = [w / sum(weights) for w in weights]
    kl = sum(p * math.log(p / q) for p, q in zip(policy, reference, strict=True) if p > 0)
    return kl, sum(p * r for p, r in zip(policy, rewards, strict=True))


def best_of_n(reference: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    # P(the best is at most r) = P(one is at most r)ⁿ.
    answers = list(zip(reference, rewards, strict=True))
    up_to = [sum(p for p, other in answers if other <= r) ** n for _, r in answers]
    below = [sum(p for p, other in answers if other < r) ** n for _, r in answers]
    return [a - b for a, b in zip(up_to, below, strict=True)]


def gold_of_best(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    # The sample with rank i by the proxy, counted from 0, is the best of C(i, n − 1) of the C(m, n) subsets.
    ranked = [g for _, g in sorted(zip(proxy, gold, strict=True))]
    return sum(math.comb(i, n - 1) * g for i, g in enumerate(ranked)) / math.comb(len(ranked), n)


def peak(alpha: float, beta: float) -> tuple[float, float]:
    # The derivative α − β log d − β is 0 at log d = α/β − 1, where d(α − β log d) = β d.
    d = math.exp(alpha / beta - 1)
    return d, beta * d


def settles_at(p: float, beta: float, tau: float) -> tuple[float, float]:
    # DPO: σ(βx) = p. IPO: the mean of (x − 1/(2τ))² and (x + 1/(2τ))², weighted with p and 1 − p, is least at the mean.
    return math.log(p / (1 - p)) / beta, (p - 0.5) / tau


def kto_pull(logratio: float, desirable: bool, kl: float, beta: float) -> float:
    good = 1 / (1 + math.exp(-beta * (logratio - kl)))
    return (-1 if desirable else 1) * beta * good * (1 - good)
