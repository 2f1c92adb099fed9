"""What the objectives of the policy have in common: one gradient, the policy gradient."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import burnish.functional as fn

from .bandits import all_logprobs, close, expected_gradient, numbers, true_gradient

LOGITS, REWARDS = numbers(6), 3 * numbers(6, seed=1)


def test_policy_gradient_is_the_gradient_of_the_expected_reward() -> None:
    expected = -true_gradient(lambda p: (p * REWARDS).sum(), LOGITS)
    close(expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, REWARDS), LOGITS), expected)


@given(st.floats(-100, 100))
def test_a_baseline_leaves_the_exact_gradient_unchanged(baseline: float) -> None:
    """Any number that does not depend on the action: its own part is b Σ ∇π = 0."""
    with_it = expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, REWARDS - baseline), LOGITS)
    close(with_it, expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, REWARDS), LOGITS), tolerance=1e-11)


def test_a_baseline_of_the_state_leaves_the_gradient_unchanged_and_one_of_the_action_does_not() -> None:
    logits, rewards = numbers(4, 6), numbers(4, 6, seed=1)
    plain = expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, rewards), logits)
    state = expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, rewards - numbers(4, 1, seed=2)), logits)
    action = expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, rewards - numbers(4, 6, seed=2)), logits)
    close(state, plain)
    assert (action - plain).abs().max() > 0.01


@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_is_unbiased_and_centring_shrinks_by_a_known_factor(size: int) -> None:
    """Mean over all A^G groups: leave-one-out gives the policy gradient; centring (G − 1)/G of it, since one's own
    score is in its baseline."""
    logits, rewards = numbers(4), 3 * numbers(4, seed=1)
    exact = -true_gradient(lambda p: (p * rewards).sum(), logits)

    def mean_gradient(baseline) -> Tensor:
        leaf = logits.clone().requires_grad_()
        total = torch.zeros((), dtype=torch.float64)
        for group in itertools.product(range(4), repeat=size):
            actions = torch.tensor(group)
            logprobs = fn.action_logprobs(leaf, actions)
            weight = logprobs.detach().sum().exp()
            total = total + weight * fn.policy_gradient(logprobs, baseline(rewards[actions])).mean()
        return torch.autograd.grad(total, leaf)[0]

    close(mean_gradient(fn.leave_one_out), exact)
    close(mean_gradient(fn.group_centre), exact * (size - 1) / size)


@pytest.mark.parametrize("clip", [0.0, 0.2])
def test_first_gradient_of_surrogate_and_ppo_is_the_policy_gradient(clip: float) -> None:
    """At π = π_old, step by step and not only in the mean; and the values are −A."""
    old_logprobs = all_logprobs(LOGITS)

    def gradient(loss) -> Tensor:
        logprobs = old_logprobs.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(logprobs).sum(), logprobs)[0]

    exact = gradient(lambda logprobs: fn.policy_gradient(logprobs, REWARDS))
    assert torch.equal(gradient(lambda logprobs: fn.surrogate(logprobs, old_logprobs, REWARDS)), exact)
    clipped = gradient(lambda logprobs: fn.clipped_surrogate(logprobs, old_logprobs, REWARDS, clip, clip))
    assert torch.equal(clipped, exact)
    close(fn.clipped_surrogate(old_logprobs, old_logprobs, REWARDS), -REWARDS)


def test_surrogate_is_the_expected_reward_of_the_policy_whoever_sampled() -> None:
    """Σ_a π_old(a) (π/π_old)(a) r(a) = Σ_a π(a) r(a), and its gradient is the policy's own, also away from π_old."""
    old = numbers(6, seed=5)
    leaf = LOGITS.clone().requires_grad_()
    losses = fn.surrogate(all_logprobs(leaf), all_logprobs(old), REWARDS)
    value = (old.softmax(-1) * losses).sum()
    close(value, -(LOGITS.softmax(-1) * REWARDS).sum())
    close(torch.autograd.grad(value, leaf)[0], -true_gradient(lambda p: (p * REWARDS).sum(), LOGITS))


@given(seed=st.integers(0, 999), clip=st.floats(0, 0.9))
def test_ppo_never_promises_more_than_the_surrogate(seed: int, clip: float) -> None:
    """The clipped loss is an upper bound of the loss, equal to it within the range."""
    logprobs, old_logprobs, advantages = (numbers(50, seed=seed + i) for i in range(3))
    plain = fn.surrogate(logprobs, old_logprobs, advantages)
    clipped = fn.clipped_surrogate(logprobs, old_logprobs, advantages, clip, clip)
    ratio = (logprobs - old_logprobs).exp()
    inside = (ratio > 1 - clip) & (ratio < 1 + clip)
    assert (clipped >= plain).all()
    assert torch.equal(clipped[inside], plain[inside])


def test_sft_is_the_policy_gradient_with_advantage_1() -> None:
    """On demonstrations as if they were one's own actions: values and gradients of the cross-entropy."""
    logits, actions = numbers(3, 5, 7), torch.arange(15).reshape(3, 5) % 7
    mask = torch.arange(5) < torch.tensor([5, 2, 0])[:, None]
    leaf, other = (logits.clone().requires_grad_() for _ in range(2))
    sft = fn.aggregate(fn.policy_gradient(fn.action_logprobs(leaf, actions), torch.ones(3, 5)), mask)
    labels = torch.where(mask, actions, -100)
    cross_entropy = torch.nn.functional.cross_entropy(other.flatten(0, 1), labels.flatten())
    close(sft, cross_entropy)
    close(torch.autograd.grad(sft, leaf)[0], torch.autograd.grad(cross_entropy, other)[0])


def test_entropy_bonus_is_the_policy_gradient_of_surprise() -> None:
    """∇H(π) = −Σ π ∇log π · log π: entropy is the expected reward −log π, held."""
    leaf = LOGITS.clone().requires_grad_()
    surprise = -all_logprobs(LOGITS)
    direct = torch.autograd.grad(fn.entropy(leaf), leaf)[0]
    close(direct, -expected_gradient(lambda logprobs: fn.policy_gradient(logprobs, surprise), LOGITS))
