"""Why DPO is RLHF: the same optimum, found from comparisons alone. On bandits, where the optimum is known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import burnish.functional as fn

from .bandits import all_logprobs, close, numbers

BETA = 0.7
REFERENCE, REWARDS = numbers(5), numbers(5, seed=1)
OPTIMUM = REFERENCE + REWARDS / BETA  # logits of π* ∝ π_ref exp(r/β)


def penalised(logits: Tensor) -> Tensor:
    return (logits.softmax(-1) * REWARDS).sum(-1) - BETA * fn.categorical_kl(logits, REFERENCE)


def minimise(objective, logits: Tensor) -> Tensor:
    leaf = logits.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([leaf], max_iter=500, tolerance_grad=1e-13, tolerance_change=0, history_size=20)
    optimizer.param_groups[0]["line_search_fn"] = "strong_wolfe"

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(leaf)
        loss.backward()
        return loss

    optimizer.step(closure)
    return leaf.detach()


def preference_probabilities() -> Tensor:
    """P(i preferred to j) of Bradley–Terry labellers with these rewards."""
    return (REWARDS[:, None] - REWARDS[None, :]).sigmoid()


def log_ratios(logits: Tensor) -> Tensor:
    return all_logprobs(logits) - all_logprobs(REFERENCE)


def population_loss(loss, logits: Tensor) -> Tensor:
    """Mean over all pairs of different actions, each label as likely as the labellers make it."""
    ratios = log_ratios(logits)
    losses = loss(ratios[:, None], ratios[None, :])
    return fn.masked_sum(preference_probabilities() * losses, ~torch.eye(5, dtype=torch.bool)) / 20


@given(seed=st.integers(0, 999), scale=st.floats(0.01, 3))
def test_no_policy_beats_the_reference_tilted_by_the_reward(seed: int, scale: float) -> None:
    assert penalised(OPTIMUM + scale * numbers(5, seed=seed)) <= penalised(OPTIMUM) + 1e-12


def test_optimum_and_its_value() -> None:
    """The gradient vanishes at π*, where the objective is β log Σ π_ref exp(r/β); and from afar it is found."""
    leaf = OPTIMUM.clone().requires_grad_()
    close(torch.autograd.grad(penalised(leaf), leaf)[0], torch.zeros(5).double())
    close(penalised(OPTIMUM), BETA * (all_logprobs(REFERENCE) + REWARDS / BETA).logsumexp(-1))
    found = minimise(lambda logits: -penalised(logits), numbers(5, seed=8))
    close(found.softmax(-1), OPTIMUM.softmax(-1), tolerance=1e-6)


def test_dpo_finds_the_same_policy_from_comparisons() -> None:
    found = minimise(
        lambda logits: population_loss(lambda c, r: fn.dpo(c, r, BETA), logits),
        numbers(5, seed=8),
    )
    close(found.softmax(-1), OPTIMUM.softmax(-1), tolerance=1e-6)


def test_implicit_rewards_of_the_optimum_are_the_rewards() -> None:
    implicit = fn.implicit_reward(all_logprobs(OPTIMUM), all_logprobs(REFERENCE), BETA)
    close(implicit - implicit[0], REWARDS - REWARDS[0])


@pytest.mark.parametrize("flip", [0.0, 0.2])
def test_smoothed_and_robust_dpo_under_flipped_labels(flip: float) -> None:
    """Labels turned round with probability ε: robust DPO's population loss is that of clean labels at every policy;
    plain DPO on them has the gradient of conservative DPO on clean ones."""
    logits = numbers(5, seed=8)

    def on_flipped(loss):
        return lambda c, r: (1 - flip) * loss(c, r) + flip * loss(r, c)

    clean = population_loss(lambda c, r: fn.dpo(c, r, BETA), logits)
    robust = population_loss(on_flipped(lambda c, r: fn.robust_dpo(c, r, BETA, flip)), logits)
    close(robust, clean)
    flipped = population_loss(on_flipped(lambda c, r: fn.dpo(c, r, BETA)), logits)
    close(flipped, population_loss(lambda c, r: fn.dpo(c, r, BETA, flip), logits))


def test_dpo_is_bradley_terry_of_implicit_rewards() -> None:
    """Values, and gradients in the policy's log-probabilities."""
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = (numbers(8, seed=seed) for seed in range(4))

    def as_dpo(chosen: Tensor, rejected: Tensor) -> Tensor:
        return fn.dpo(chosen - ref_chosen, rejected - ref_rejected, BETA, 0.1)

    def as_reward_model(chosen: Tensor, rejected: Tensor) -> Tensor:
        rewards = (
            fn.implicit_reward(chosen, ref_chosen, BETA),
            fn.implicit_reward(rejected, ref_rejected, BETA),
        )
        return fn.bradley_terry(*rewards, confidence=0.9)

    results = []
    for function in (as_dpo, as_reward_model):
        leaves = [x.clone().requires_grad_() for x in (policy_chosen, policy_rejected)]
        losses = function(*leaves)
        results.append((losses, *torch.autograd.grad(losses.sum(), leaves)))
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_ipo_regresses_on_the_preferences() -> None:
    """Least squares on all pairs: with A actions, each paired with the A − 1 others and preferred to p̄ of them, the
    normal equations give differences of log-ratios h_i − h_j = (A − 1)/A · (p̄_i − p̄_j)/τ."""
    tau = 0.4
    found = log_ratios(minimise(lambda logits: population_loss(lambda c, r: fn.ipo(c, r, tau), logits), REFERENCE))
    wins = (preference_probabilities().sum(-1) - 0.5) / 4
    expected = 0.8 * wins / tau
    close(found - found[0], expected - expected[0], tolerance=1e-6)


def test_simpo_without_margin_is_dpo_without_reference() -> None:
    chosen, rejected, zero = numbers(8), numbers(8, seed=1), torch.zeros(8).double()
    close(fn.simpo(chosen, rejected, 2.0, 0.0), fn.dpo(chosen - zero, rejected - zero, 2.0))


def test_kto_has_the_slope_of_dpo_against_the_reference_point() -> None:
    """−log σ(z) and 1 − σ(z) fall together: d(kto) = σ(z) · d(dpo), for a good response against kl."""
    good, kl = numbers(8), torch.tensor(0.3, dtype=torch.float64)
    leaf, other = good.clone().requires_grad_(), good.clone().requires_grad_()
    kto = torch.autograd.grad(fn.kto(leaf, torch.ones(8, dtype=torch.bool), kl, BETA).sum(), leaf)[0]
    dpo = torch.autograd.grad(fn.dpo(other, kl, BETA).sum(), other)[0]
    close(kto, dpo * (BETA * (good - kl)).sigmoid())
