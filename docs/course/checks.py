"""The checks of the exercises of the first six pages: not needed to solve them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from burnish import functional

GAMES = [([0.5, 0.5], [1.0, 0.0]), ([0.2, 0.3, 0.5], [1.0, -2.0, 4.0]), ([0.9, 0.06, 0.04], [3.0, 3.0, 10.0])]


def same(found: Any, expected: Any, where: str) -> None:
    """Numbers, or lists of them, that agree to six digits."""
    found, expected = torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(expected, dtype=torch.float64)
    if found.shape != expected.shape:
        raise AssertionError(f"{where}: give numbers of shape {list(expected.shape)}, not {list(found.shape)}")
    if not torch.allclose(found, expected, rtol=1e-6, atol=1e-6):
        raise AssertionError(f"{where}: it is not {found.tolist()}")


def check_returns(solve: Callable[..., Any]) -> None:
    same(solve([1.0, 1.0, 1.0], 1.0), [3.0, 2.0, 1.0], "three rewards of 1 at γ = 1")
    same(solve([0.0, 2.0, 4.0], 0.5), [2.0, 4.0, 4.0], "rewards 0, 2, 4 at γ = ½")
    same(solve([5.0], 0.9), [5.0], "one reward")


def estimates(probabilities: Sequence[float], rewards: Sequence[float], baseline: float) -> torch.Tensor:
    """The estimate that each action would give, one row per action, by differentiation."""
    rows = []
    for action, reward in enumerate(rewards):
        logits = torch.tensor(probabilities, dtype=torch.float64).log().requires_grad_()
        logprob = functional.action_logprobs(logits, torch.tensor(action))
        loss = functional.policy_gradient(logprob, logits.new_tensor(reward - baseline))
        rows.append(-torch.autograd.grad(loss, logits)[0])
    return torch.stack(rows)


def check_exact_gradient(solve: Callable[..., Any]) -> None:
    for probabilities, rewards in GAMES:
        expected = torch.tensor(probabilities, dtype=torch.float64) @ estimates(probabilities, rewards, 0.0)
        same(solve(probabilities, rewards), expected, f"π = {probabilities}, r = {rewards}")


def variance(probabilities: Sequence[float], rewards: Sequence[float], baseline: float) -> float:
    weight, each = torch.tensor(probabilities, dtype=torch.float64), estimates(probabilities, rewards, baseline)
    return float(weight @ (each - weight @ each).square().sum(-1))


def check_gradient_variance(solve: Callable[..., Any]) -> None:
    same(solve([0.5, 0.5], [1.0, 0.0], 0.5), 0.0, "two equal actions, r = 1 and 0, b = ½: both give the same estimate")
    for probabilities, rewards in GAMES:
        for baseline in (0.0, 1.0, -3.0):
            expected = variance(probabilities, rewards, baseline)
            same(
                solve(probabilities, rewards, baseline), expected, f"π = {probabilities}, r = {rewards}, b = {baseline}"
            )


def check_best_baseline(solve: Callable[..., Any]) -> None:
    for probabilities, rewards in GAMES:
        found = float(solve(probabilities, rewards))
        least = variance(probabilities, rewards, found)
        for step in (0.01, -0.01):
            if variance(probabilities, rewards, found + step) < least:
                raise AssertionError(f"π = {probabilities}, r = {rewards}: {found + step:g} is better than {found:g}")


def check_advantages(solve: Callable[..., Any]) -> None:
    rewards, values = [1.0, 0.0, -2.0, 3.0], [0.5, -1.0, 2.0, 0.0, 4.0]
    for gamma, lambda_ in ((1.0, 1.0), (0.9, 0.0), (0.9, 0.5)):
        row = [torch.tensor([numbers], dtype=torch.float64) for numbers in (rewards, values, [gamma] * 4)]
        expected = functional.gae(*row, torch.ones(1, 4, dtype=torch.bool), lambda_)[0]
        same(solve(rewards, values, gamma, lambda_), expected, f"γ = {gamma}, λ = {lambda_}")
    same(solve([1.0], [0.0, 10.0], 0.5, 0.3), [6.0], "one reward of 1, then a state worth 10 at γ = ½")


def check_weights(solve: Callable[..., Any]) -> None:
    rewards, values, gamma = [1.0, 0.0, -2.0, 3.0], [0.5, -1.0, 2.0, 0.0, 4.0], 0.9
    for lambda_ in (0.0, 0.5, 0.95, 1.0):
        looks = [sum(gamma**i * rewards[i] for i in range(n)) + gamma**n * values[n] - values[0] for n in range(1, 5)]
        given = [float(weight) for weight in solve(4, lambda_)]
        same(sum(given), 1.0, f"λ = {lambda_}: the sum of the weights")
        row = [torch.tensor([numbers], dtype=torch.float64) for numbers in (rewards, values, [gamma] * 4)]
        expected = functional.gae(*row, torch.ones(1, 4, dtype=torch.bool), lambda_)[0, 0]
        same(sum(w * a for w, a in zip(given, looks, strict=True)), expected, f"λ = {lambda_}: the average")


def check_fisher_times(solve: Callable[..., Any]) -> None:
    for probabilities, vector in GAMES:
        logits = torch.tensor(probabilities, dtype=torch.float64).log()
        fisher = torch.autograd.functional.hessian(lambda x, at=logits: functional.categorical_kl(at, x), logits)
        same(solve(probabilities, vector), fisher @ torch.tensor(vector, dtype=torch.float64), f"π = {probabilities}")


def check_natural_step(solve: Callable[..., Any]) -> None:
    for gradient, fisher, max_kl in (([3.0, 4.0], [1.0, 1.0], 0.5), ([1.0, -2.0, 0.5], [0.1, 4.0, 1.0], 0.01)):
        where = f"g = {gradient}, F = {fisher}, max_kl = {max_kl}"
        step = [float(x) for x in solve(gradient, fisher, max_kl)]
        same(sum(f * x * x for f, x in zip(fisher, step, strict=True)) / 2, max_kl, f"{where}: ½ ΔᵀFΔ")
        gain = sum(g * x for g, x in zip(gradient, step, strict=True))
        most = math.sqrt(2 * max_kl * sum(g * g / f for g, f in zip(gradient, fisher, strict=True)))  # Cauchy–Schwarz
        same(gain, most, f"{where}: the gain")


def check_still_pulls(solve: Callable[..., Any]) -> None:
    for ratio in (0.5, 0.79, 0.9, 1.0, 1.1, 1.21, 3.0):
        for advantage in (-2.0, -0.1, 0.1, 2.0):
            logprob = torch.tensor(math.log(ratio), requires_grad=True)
            loss = functional.clipped_surrogate(logprob, torch.zeros(()), torch.tensor(advantage), 0.2, 0.2)
            (slope,) = torch.autograd.grad(loss, logprob)
            if bool(solve(ratio, advantage, 0.2)) != bool(slope != 0):
                raise AssertionError(f"ratio {ratio}, advantage {advantage}, clip 0.2: it is the other way round")


def check_most_to_gain(solve: Callable[..., Any]) -> None:
    ratios = torch.linspace(0, 5, 5001, dtype=torch.float64)
    for given, clip in (([1.0, -1.0], 0.2), ([0.0, 0.0], 0.2), ([2.0, 0.5, -0.5, -3.0, 0.1], 0.1)):
        tensor = torch.tensor(given, dtype=torch.float64)[:, None]
        zeros = torch.zeros(1, dtype=torch.float64)
        reached = -functional.clipped_surrogate(ratios.log(), zeros, tensor, clip, clip)
        expected = reached.amax(-1).mean() - tensor.mean()
        same(solve(given, clip), expected, f"advantages {given}, clip {clip}")


def check_probability_of_label(solve: Callable[..., Any]) -> None:
    same(solve([0.0, 0.0], [0.0, 0.0], 0.1), 0.5, "two equal segments")
    same(solve([1000.0], [0.0], 0.1), 0.95, "one much better than the other: the judge still errs")
    same(solve([0.0, 1.0], [0.5, -0.5], 0.0), 0.7310585786300049, "worth 1 against 0, without error")
    loss = functional.erring_bradley_terry(torch.tensor(-0.7).double(), torch.tensor(1.2).double(), error=0.3)
    same(solve([0.1, -0.8], [1.0, 0.2], 0.3), float((-loss).exp()), "worth −0.7 against 1.2, error 0.3")


def check_pull(solve: Callable[..., Any]) -> None:
    for difference in (-30.0, -2.0, 0.0, 1.5):
        for error in (0.0, 0.1, 0.5):
            z = torch.tensor(difference, dtype=torch.float64, requires_grad=True)
            loss = functional.erring_bradley_terry(z, torch.zeros_like(z), error=error)
            (slope,) = torch.autograd.grad(loss, z)
            same(solve(difference, error), slope, f"difference {difference:g}, error {error:g}")


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}
