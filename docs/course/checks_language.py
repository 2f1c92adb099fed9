"""The checks of the exercises on language: not needed to solve them."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from checks import GAMES, same

from burnish import functional

POLICIES = [([0.6, 0.4], [0.5, 0.5]), ([0.2, 0.3, 0.5], [0.5, 0.25, 0.25]), ([0.9, 0.06, 0.04], [0.1, 0.1, 0.8])]
"""Probabilities under a policy, and under the reference."""


def check_imitation_loss(solve: Callable[..., Any]) -> None:
    yes, no = True, False
    same(solve([[-1.0, -2.0, -3.0]], [[no, yes, yes]]), 2.5, "a prompt of one token and a response of two")
    found = solve([[-9.0, -1.0], [-9.0, -4.0, -4.0, -4.0]], [[no, yes], [no, yes, yes, yes]])
    same(found, 3.25, "responses of one and of three tokens: 13 nats over 4 tokens")


def check_above_the_least(solve: Callable[..., Any]) -> None:
    same(solve([0.5, 0.5], [0.5, 0.5]), 0.0, "a policy that answers as people do")
    same(solve([1.0, 0.0], [0.25, 0.75]), math.log(4), "one answer is always given, and the policy gives it rarely")
    for shown, policy in POLICIES:
        expected = functional.categorical_kl(*(torch.tensor(x, dtype=torch.float64).log() for x in (shown, policy)))
        same(solve(shown, policy), expected, f"shown {shown}, π = {policy}")


def check_best_accuracy(solve: Callable[..., Any]) -> None:
    same(solve([0.5, 0.5]), 0.5, "raters who toss a coin")
    same(solve([1.0, 0.0]), 1.0, "raters who always agree, on the first and on the second")
    same(solve([0.9, 0.2, 0.6]), (0.9 + 0.8 + 0.6) / 3, "probabilities 0.9, 0.2, 0.6")


def check_worth_gradient(solve: Callable[..., Any]) -> None:
    for worths, labels in (([0.0, 0.0], [(0, 1)]), ([1.0, -2.0, 0.5], [(0, 1), (1, 0), (2, 0), (2, 0)])):
        at = torch.tensor(worths, dtype=torch.float64, requires_grad=True)
        loss = sum(functional.bradley_terry(at[chosen], at[rejected]) for chosen, rejected in labels)
        (expected,) = torch.autograd.grad(loss, at)
        same(solve(worths, labels), expected, f"worths {worths}, labels {labels}")


def check_shaped_returns(solve: Callable[..., Any]) -> None:
    for score, logprobs, ref_logprobs, beta in (
        (2.0, [-1.0], [-1.5], 0.1),
        (1.0, [-1.0, -0.5, -3.0], [-1.0, -2.5, -2.0], 0.5),
        (-3.0, [-0.1, -0.2], [-4.0, -0.2], 0.0),
    ):
        rows = [torch.tensor([one], dtype=torch.float64) for one in (logprobs, ref_logprobs)]
        mask = torch.ones(1, len(logprobs), dtype=torch.bool)
        rewards = functional.kl_shaped_rewards(torch.tensor([score], dtype=torch.float64), *rows, mask, beta)
        expected = functional.discounted_returns(rewards, torch.ones_like(rewards), mask)[0]
        same(solve(score, logprobs, ref_logprobs, beta), expected, f"score {score:g}, β = {beta:g}")


def check_best_policy(solve: Callable[..., Any]) -> None:
    stream = torch.Generator().manual_seed(0)
    for reference, rewards in GAMES:
        for beta in (0.5, 5.0):
            where = f"reference {reference}, rewards {rewards}, β = {beta}"
            before, earned = (torch.tensor(x, dtype=torch.float64) for x in (reference, rewards))
            policy = torch.tensor([float(p) for p in solve(reference, rewards, beta)], dtype=torch.float64)
            same(policy.sum(), 1.0, f"{where}: the sum of the probabilities")

            def worth(p: torch.Tensor, ref: torch.Tensor = before, r: torch.Tensor = earned, b: float = beta) -> float:
                return float((p * r).sum() - b * functional.categorical_kl(p.log(), ref.log()))

            for _ in range(200):
                other = (policy.log() + 0.1 * torch.randn(len(policy), generator=stream, dtype=torch.float64)).softmax(
                    -1
                )
                if worth(other) > worth(policy) + 1e-9:
                    raise AssertionError(f"{where}: {other.tolist()} is better than {policy.tolist()}")


def check_implied_rewards(solve: Callable[..., Any]) -> None:
    for policy, reference in POLICIES:
        for beta in (0.1, 2.0):
            where = f"policy {policy}, reference {reference}, β = {beta}"
            rewards = torch.tensor([float(one) for one in solve(policy, reference, beta)], dtype=torch.float64)
            same(rewards[0], 0.0, f"{where}: the first reward")
            logits = torch.tensor(reference, dtype=torch.float64).log() + rewards / beta
            same(logits.softmax(-1), policy, f"{where}: the best policy for these rewards")


def check_dpo_pull(solve: Callable[..., Any]) -> None:
    for chosen, rejected in ((0.0, 0.0), (3.0, -40.0), (-5.0, 2.0)):
        for beta in (0.1, 1.0):
            at = torch.tensor(chosen, dtype=torch.float64, requires_grad=True)
            loss = functional.dpo(at, torch.tensor(rejected, dtype=torch.float64), beta)
            (slope,) = torch.autograd.grad(loss, at)
            same(solve(chosen, rejected, beta), slope, f"log-ratios {chosen:g} and {rejected:g}, β = {beta}")


def check_optimum(solve: Callable[..., Any]) -> None:
    for reference, rewards in GAMES:
        for beta in (0.5, 5.0):
            where = f"reference {reference}, rewards {rewards}, β = {beta}"
            before, earned = (torch.tensor(x, dtype=torch.float64) for x in (reference, rewards))
            kl, reward = (float(one) for one in solve(reference, rewards, beta))
            # At the best policy E[r] − β·KL is β·log E_ref[exp(r/β)], and its derivative by −β is the KL.
            worth = beta * (before * (earned / beta).exp()).sum().log()
            same(reward - beta * kl, worth, f"{where}: E[r] − β·KL")
            at = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(at * (before * (earned / at).exp()).sum().log(), at)
            same(kl, -slope, f"{where}: the KL")


def check_best_of_n(solve: Callable[..., Any]) -> None:
    for reference, rewards in (([0.5, 0.5], [1.0, 0.0]), ([0.2, 0.3, 0.5], [1.0, -2.0, 4.0])):
        for n in (1, 2, 3):
            expected = [0.0] * len(reference)
            for drawn in itertools.product(range(len(reference)), repeat=n):
                expected[max(drawn, key=lambda one: rewards[one])] += math.prod(reference[one] for one in drawn)
            same(solve(reference, rewards, n), expected, f"reference {reference}, rewards {rewards}, n = {n}")


def mean_of_best(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """By going through all subsets."""
    subsets = list(itertools.combinations(range(len(proxy)), n))
    return sum(gold[max(one, key=lambda i: proxy[i])] for one in subsets) / len(subsets)


def check_gold_of_best(solve: Callable[..., Any]) -> None:
    proxy, gold = [0.1, 2.0, -1.0, 0.7, 3.0], [0.0, 1.0, 0.5, 2.0, -4.0]
    for n in range(1, 6):
        same(solve(proxy, gold, n), mean_of_best(proxy, gold, n), f"proxy {proxy}, gold {gold}, n = {n}")


def check_peak(solve: Callable[..., Any]) -> None:
    for alpha, beta in ((1.0, 0.5), (0.3, 0.4), (2.0, 1.0)):
        d, height = (float(one) for one in solve(alpha, beta))
        where = f"α = {alpha}, β = {beta}"
        same(height, d * (alpha - beta * math.log(d)), f"{where}: the height at d = {d:g}")
        for other in (0.99 * d, 1.01 * d):
            if other * (alpha - beta * math.log(other)) > height:
                raise AssertionError(f"{where}: d = {other:g} is higher than d = {d:g}")


def check_settles_at(solve: Callable[..., Any]) -> None:
    for p in (0.5, 0.2, 0.9, 0.999):
        for beta, tau in ((0.1, 0.1), (1.0, 0.3)):
            for name, found in zip(("DPO", "IPO"), solve(p, beta, tau), strict=True):
                at, zero = torch.tensor(float(found), dtype=torch.float64, requires_grad=True), torch.zeros(()).double()
                loss = functional.dpo if name == "DPO" else functional.ipo
                price = beta if name == "DPO" else tau
                mean = p * loss(at, zero, price) + (1 - p) * loss(zero, at, price)
                (slope,) = torch.autograd.grad(mean, at)
                same(slope, 0.0, f"{name}, p = {p}, β = {beta}, τ = {tau}: the slope at {float(found):g}")


def check_kto_pull(solve: Callable[..., Any]) -> None:
    for logratio in (-50.0, -1.0, 0.5, 8.0):
        for desirable in (True, False):
            at = torch.tensor(logratio, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(functional.kto(at, torch.tensor(desirable), 0.7, 0.5), at)
            kind = "desirable" if desirable else "undesirable"
            same(solve(logratio, desirable, 0.7, 0.5), slope, f"{kind}, log-ratio {logratio:g}, z₀ = 0.7, β = 0.5")


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}
