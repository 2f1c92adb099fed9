"""What the estimators of the divergence estimate, and what their gradients do not: by enumeration."""

import math

import torch
from torch import Tensor

import burnish.functional as fn

from .bandits import all_logprobs, close, expected_gradient, numbers

POLICY, REFERENCE = numbers(3, 7), numbers(3, 7, seed=1)


def expectation(estimates: Tensor) -> Tensor:
    return (POLICY.softmax(-1) * estimates).sum(-1)


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    logprobs, ref_logprobs = all_logprobs(POLICY), all_logprobs(REFERENCE)
    exact = fn.categorical_kl(POLICY, REFERENCE)
    close(expectation(fn.k1(logprobs, ref_logprobs)), exact)
    close(expectation(fn.k3(logprobs, ref_logprobs)), exact)
    assert (expectation(fn.k2(logprobs, ref_logprobs)) - exact).abs().min() > 0.01


def test_gradients_of_the_estimates() -> None:
    """E[∇k1] = 0, E[∇k2] = ∇KL(policy‖reference), E[∇k3] = ∇KL(reference‖policy)."""

    def gradient(estimator) -> Tensor:
        return expected_gradient(lambda logprobs: estimator(logprobs, all_logprobs(REFERENCE)), POLICY)

    leaf = POLICY.clone().requires_grad_()
    forward = torch.autograd.grad(fn.categorical_kl(leaf, REFERENCE).sum(), leaf)[0]
    backward = torch.autograd.grad(fn.categorical_kl(REFERENCE, leaf).sum(), leaf)[0]
    close(gradient(fn.k1), torch.zeros_like(POLICY))
    close(gradient(fn.k2), forward)
    close(gradient(fn.k3), backward)


def test_k3_varies_less_than_k1_between_close_policies() -> None:
    near = POLICY + 0.1 * numbers(3, 7, seed=2)
    logprobs, near_logprobs = all_logprobs(POLICY), all_logprobs(near)
    exact = fn.categorical_kl(POLICY, near)[:, None]
    spread = [expectation((k(logprobs, near_logprobs) - exact) ** 2) for k in (fn.k1, fn.k3)]
    assert (spread[1] < spread[0] / 10).all()


def test_kl_is_cross_entropy_minus_entropy() -> None:
    close(fn.categorical_kl(POLICY, REFERENCE), -expectation(all_logprobs(REFERENCE)) - fn.entropy(POLICY))


def test_kl_to_the_uniform_policy_is_what_entropy_lacks() -> None:
    close(fn.categorical_kl(POLICY, torch.zeros(7).double()), math.log(7) - fn.entropy(POLICY))


def test_the_divergence_is_the_mean_price_in_shaped_rewards() -> None:
    """With scores of 0 and β = 1, one-token completions pay KL(policy‖reference) in the mean."""
    logprobs, ref_logprobs = all_logprobs(POLICY)[..., None], all_logprobs(REFERENCE)[..., None]
    mask = torch.ones(3, 7, 1, dtype=torch.bool)
    paid = fn.kl_shaped_rewards(torch.zeros(3, 7).double(), logprobs, ref_logprobs, mask, 1.0).squeeze(-1)
    close(-expectation(paid), fn.categorical_kl(POLICY, REFERENCE))


def test_gaussian_kl_is_the_mean_of_log_density_ratios() -> None:
    """By Gauss–Hermite quadrature, exact for the quadratic log-ratio: Σ_k w_k k1(a_k) with a = μ + √2 σ x_k."""
    nodes = torch.tensor([-math.sqrt(1.5), 0.0, math.sqrt(1.5)], dtype=torch.float64)
    weights = torch.tensor([1 / 6, 2 / 3, 1 / 6], dtype=torch.float64)
    mean_p, mean_q, log_std_p, log_std_q = (numbers(4, 1, seed=seed) for seed in range(4))
    actions = (mean_p + math.sqrt(2) * log_std_p.exp() * nodes)[..., None]
    logprobs = fn.gaussian_logprobs(mean_p[..., None], log_std_p[..., None], actions)
    ref_logprobs = fn.gaussian_logprobs(mean_q[..., None], log_std_q[..., None], actions)
    close((weights * fn.k1(logprobs, ref_logprobs)).sum(-1), fn.gaussian_kl(mean_p, log_std_p, mean_q, log_std_q))
    close(-(weights * logprobs).sum(-1), fn.gaussian_entropy(log_std_p))
