"""Targets of action values: worked by hand, by loops, and by what they are the mean of."""

import math

import pytest
import torch

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers


def test_a_target_bootstraps_unless_the_step_terminated() -> None:
    """1 + 0.9 · 10 in the middle of an episode and where a time limit cut it; 1 where it terminated. V after the end
    of an episode may be anything."""
    found = fn.td_target(f64([1.0, 1.0, 1.0]), f64([0.9, 0.9, 0.0]), f64([10.0, 10.0, math.nan]))
    close(found, [10.0, 10.0, 1.0])
    assert_gradients(lambda v: fn.td_target(f64([1.0, 2.0]), f64([0.9, 0.0]), v), f64([3.0, 4.0]))
    (slope,) = gradients(lambda v: fn.td_target(f64([1.0]), f64([0.0]), v), f64([math.inf]))
    assert slope.item() == 0


def test_a_target_of_three_steps_by_hand() -> None:
    """γ = ½. Three steps and V: 1 + ½·2 + ¼·4 + ⅛·8 = 4. Two, cut: 1 + ½·2 + ¼·8 = 4. Two, terminated: 2."""
    rewards = f64([[1.0, 2.0, 4.0], [1.0, 2.0, math.nan], [1.0, 2.0, math.nan]])
    discounts = f64([[0.5, 0.5, 0.5], [0.5, 0.5, math.nan], [0.5, 0.0, math.nan]])
    mask = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
    close(fn.n_step_target(rewards, discounts, mask, f64([8.0, 8.0, math.nan])), [4.0, 4.0, 2.0])
    assert fn.n_step_target(rewards, discounts, ~mask & mask, f64([8.0, 8.0, 8.0])).tolist() == [0, 0, 0]


def test_n_steps_are_one_step_n_times() -> None:
    """Folding `td_target` from the last step to the first."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 5, (2, 6), generator=generator)
    mask = torch.arange(4) < lengths[..., None]
    rewards, values = numbers(2, 6, 4), numbers(2, 6, seed=1)
    discounts = torch.where(torch.rand(2, 6, 4, generator=generator) < 0.2, 0.0, 0.9).double()
    expected = torch.zeros(2, 6, dtype=torch.float64)
    for r in range(2):
        for b in range(6):
            total = values[r, b]
            for k in reversed(range(int(lengths[r, b]))):
                total = fn.td_target(rewards[r, b, k], discounts[r, b, k], total)
            expected[r, b] = total
    close(fn.n_step_target(rewards, discounts, mask, values), expected)


def test_with_one_step_both_targets_are_the_same() -> None:
    rewards, values, discounts = numbers(5, 1), numbers(5, seed=1), f64([[0.9], [0.0], [0.5], [0.9], [1.0]])
    found = fn.n_step_target(rewards, discounts, torch.ones(5, 1, dtype=torch.bool), values)
    close(found, fn.td_target(rewards[:, 0], discounts[:, 0], values))


def test_double_q_by_hand() -> None:
    """The first network likes action 2, then 0 (of equals the first); the target says what they are worth."""
    chosen = fn.double_q(f64([[1.0, 5.0, 3.0], [7.0, 9.0, 8.0]]), f64([[0.0, 1.0, 2.0], [4.0, 4.0, 3.0]]))
    close(chosen, [3.0, 7.0])
    values = numbers(4, 3)
    close(fn.double_q(values, values), values.max(-1).values)
    target, choosing = gradients(fn.double_q, numbers(2, 3), numbers(2, 3, seed=1))
    assert (choosing == 0).all()
    assert ((target != 0).sum(-1) == 1).all()


def test_the_maximum_of_noise_is_above_0_and_double_q_is_not() -> None:
    """Values that are 0 but for unit noise: the maximum of three is √(9/4π) = 0.846 on average, double Q is 0."""
    noise, other = (numbers(200_000, 3, seed=seed) for seed in (1, 2))
    assert noise.max(-1).values.mean().item() == pytest.approx(math.sqrt(9 / (4 * math.pi)), abs=0.01)
    assert fn.double_q(other, noise).mean().item() == pytest.approx(0, abs=0.01)


def test_a_soft_value_is_the_worth_and_the_surprise_of_an_action() -> None:
    """3 − ½ · (−2) = 4; over the actions of a policy its mean is E[Q] + α H."""
    close(fn.soft_value(f64([3.0]), f64([-2.0]), 0.5), [4.0])
    close(fn.soft_value(f64([[3.0], [3.0]]), f64([[-2.0], [-2.0]]), f64([[0.5], [0.0]])), [[4.0], [3.0]])
    logits, worth = numbers(4), numbers(4, seed=1)
    pi = logits.softmax(-1)
    mean = (pi * fn.soft_value(worth, pi.log(), 0.7)).sum()
    close(mean, (pi * worth).sum() + 0.7 * fn.entropy(logits))
    assert_gradients(lambda q, p, a: fn.soft_value(q, p, a), worth, logits, f64([0.3]))


def test_the_huber_loss_and_its_gradient_by_hand() -> None:
    """Errors of ½, 1, −3 and 0: ⅛, ½, 2½ and 0; slopes ½, 1, −1 and 0."""
    values, targets = f64([0.5, 1.0, -3.0, 2.0]), f64([0.0, 0.0, 0.0, 2.0])
    close(fn.huber_loss(values, targets), [0.125, 0.5, 2.5, 0.0])
    leaf = values.requires_grad_()
    (slope,) = torch.autograd.grad(fn.huber_loss(leaf, targets).sum(), leaf)
    close(slope, [0.5, 1.0, -1.0, 0.0])
