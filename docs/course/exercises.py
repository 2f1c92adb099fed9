"""The exercises of the course: write a function's body, then check it.

    .venv/bin/python docs/course/exercises.py returns

prints whether it is right, or what is wrong. Arguments and results are plain numbers and lists; `torch` and all of
Burnish may be used.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from burnish import functional


def returns(rewards: Sequence[float], gamma: float) -> list[float]:
    """The return of every step of one episode, G_t = r_t + γ G_{t+1}, in a loop from the end."""
    raise NotImplementedError("your turn")


def exact_gradient(probabilities: Sequence[float], rewards: Sequence[float]) -> list[float]:
    """A game with one step: action a has probability π(a), a softmax of logits, and earns rewards[a]. Derive on paper
    the gradient of the expected reward Σ_a π(a) r(a) with respect to the logits, and return it. `policy_gradient`
    estimates it from samples."""
    raise NotImplementedError("your turn")


def gradient_variance(probabilities: Sequence[float], rewards: Sequence[float], baseline: float) -> float:
    """The same game. One sampled action gives the estimate (r(a) − b)·∇log π(a), a vector with one number per
    logit, where ∂ log π(a)/∂ logit_i is [a = i] − π(i). Sum over all actions and return the variance of the estimate,
    added up over the logits. It depends on the baseline b; the mean of the estimate does not."""
    raise NotImplementedError("your turn")


def best_baseline(probabilities: Sequence[float], rewards: Sequence[float]) -> float:
    """The baseline that minimises this variance. It is an average of the rewards, but not the expected reward: action a
    has the weight π(a)·‖∇log π(a)‖²."""
    raise NotImplementedError("your turn")


def advantages(rewards: Sequence[float], values: Sequence[float], gamma: float, lambda_: float) -> list[float]:
    """GAE of one episode that was *cut off* after its last reward: `values` has one number more than `rewards`, the
    value of the state in which it was cut. Use plain loops."""
    raise NotImplementedError("your turn")


def weights(steps: int, lambda_: float) -> list[float]:
    """GAE of an episode's first step is an average of the estimates A⁽ⁿ⁾ = r_0 + … + γⁿ⁻¹ r_{n−1} + γⁿ V_n − V_0 that
    use n = 1, 2, … `steps` rewards; the last one uses all of them. Return the weights of this average."""
    raise NotImplementedError("your turn")


def fisher_times(probabilities: Sequence[float], vector: Sequence[float]) -> list[float]:
    """The Fisher matrix of a softmax with respect to its logits is F = diag(π) − π πᵀ. Return F v *without building a
    matrix*: TRPO cannot build it either, because its matrix has as many rows as the policy has weights."""
    raise NotImplementedError("your turn")


def natural_step(gradient: Sequence[float], fisher: Sequence[float], max_kl: float) -> list[float]:
    """The step Δ with the largest gain gᵀΔ subject to ½ ΔᵀFΔ ≤ max_kl. To keep it simple, F is a diagonal matrix here,
    given as a list."""
    raise NotImplementedError("your turn")


def still_pulls(ratio: float, advantage: float, clip: float) -> bool:
    """Whether PPO's clipped surrogate has a gradient at this ratio, away from the ends of the range."""
    raise NotImplementedError("your turn")


def most_to_gain(advantages: Sequence[float], clip: float) -> float:
    """The sampled actions have these advantages. All ratios are 1 at first, so that the mean of ρ A is the mean
    advantage. By how much can the mean of PPO's clipped objective rise at most, over all possible ratios?"""
    raise NotImplementedError("your turn")


def probability_of_label(first: Sequence[float], second: Sequence[float], error: float) -> float:
    """Two segments, each a list of predicted rewards. A segment's worth is the sum of its rewards. The judge prefers
    the first with Bradley and Terry's probability, but answers at random with probability `error`. Return the
    probability of the answer “the first”."""
    raise NotImplementedError("your turn")


def best_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> list[float]:
    """Several answers to one prompt, each with its probability under the reference and its reward. Return the policy
    that maximises E[r] − β·KL(π‖reference). DPO solves the same equation for the reward."""
    raise NotImplementedError("your turn")


# The checks: not needed to solve the exercises ------------------------------------------------------------------

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


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        print(f"name one exercise: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    try:
        CHECKS[arguments[0]](globals()[arguments[0]])
    except (AssertionError, NotImplementedError) as error:
        print(f"not yet: {error}", file=sys.stderr)
        return 1
    print("right")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
