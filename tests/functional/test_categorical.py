"""Categorical distributions: by hand, in float64, with impossible actions and large logits."""

import math

import pytest
import torch

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers

LOGITS = f64([math.log(1), math.log(2), math.log(5)])


def test_logprobs_by_hand() -> None:
    """Weights 1, 2, 5 are probabilities 1/8, 2/8, 5/8, with any constant added to the logits."""
    for shift in (0.0, 700.0, -700.0):
        result = fn.action_logprobs((LOGITS + shift).expand(3, 3), torch.tensor([0, 1, 2]))
        close(result.exp(), [1 / 8, 2 / 8, 5 / 8], tolerance=1e-11)


def test_actions_and_logits_broadcast() -> None:
    actions = torch.tensor([[0, 2], [1, 1]])
    close(fn.action_logprobs(LOGITS, actions).exp(), [[1 / 8, 5 / 8], [2 / 8, 2 / 8]])
    close(fn.action_logprobs(LOGITS, torch.tensor(2)).exp(), 5 / 8)
    close(fn.action_logprobs(LOGITS.expand(4, 2, 3), torch.tensor([0, 2])).exp(), [[1 / 8, 5 / 8]] * 4)


def test_actions_of_32_bits() -> None:
    assert fn.action_logprobs(torch.zeros(2, 2), torch.tensor([0, 1], dtype=torch.int32)).shape == (2,)


def test_gradient_of_a_logprob_is_one_hot_minus_probabilities() -> None:
    (gradient,) = torch.autograd.grad(
        fn.action_logprobs(leaf := LOGITS.clone().requires_grad_(), torch.tensor(1)), leaf
    )
    close(gradient, [-1 / 8, 1 - 2 / 8, -5 / 8])


def test_entropy_by_hand() -> None:
    """H(1/8, 2/8, 5/8) = ⅛ log 8 + ¼ log 4 + ⅝ log 1.6; uniform over n: log n; certain: 0."""
    close(fn.entropy(LOGITS), math.log(8) / 8 + math.log(4) / 4 + 0.625 * math.log(1.6))
    close(fn.entropy(f64([[3.0] * 7, [0.0] * 7])), [math.log(7)] * 2)
    close(fn.entropy(f64([0.0, -math.inf, -math.inf])), 0.0)
    close(fn.entropy(f64([0.0, -1e30])), 0.0)


def test_gradient_of_entropy_by_hand() -> None:
    """∂H/∂logit_a = −p_a (log p_a + H)."""
    p = f64([1 / 8, 2 / 8, 5 / 8])
    h = -(p * p.log()).sum()
    leaf = LOGITS.clone().requires_grad_()
    close(torch.autograd.grad(fn.entropy(leaf), leaf)[0], -p * (p.log() + h))


@pytest.mark.parametrize("impossible", [-math.inf, torch.finfo(torch.float64).min])
def test_an_impossible_action_contributes_nothing(impossible: float) -> None:
    """Value and gradient equal those of the distribution without it; its own gradient is 0."""
    with_it = torch.cat([LOGITS, f64([impossible])])
    close(fn.entropy(with_it), fn.entropy(LOGITS))
    close(gradients(fn.entropy, with_it)[0], torch.cat([gradients(fn.entropy, LOGITS)[0], f64([0.0])]))

    def logprobs(logits: torch.Tensor) -> torch.Tensor:
        return fn.action_logprobs(logits, torch.tensor([0, 2]))

    close(logprobs(with_it), logprobs(LOGITS))
    close(gradients(logprobs, with_it)[0], torch.cat([gradients(logprobs, LOGITS)[0], f64([0.0])]))
    assert fn.action_logprobs(with_it, torch.tensor(3)) < -1e30


def test_invalid_logits_give_nan() -> None:
    assert fn.entropy(f64([float("nan"), 0.0])).isnan()
    assert fn.entropy(f64([-math.inf, -math.inf])).isnan()


def test_gradients_against_finite_differences() -> None:
    actions = torch.tensor([[0, 2, 4], [1, 1, 3]])
    assert_gradients(lambda logits: fn.action_logprobs(logits, actions), numbers(2, 3, 5))
    assert_gradients(fn.entropy, numbers(2, 3, 5))


def test_bfloat16_logits_are_read_in_float32() -> None:
    """50,000 equal logits: log 50,000 = 10.8198 in float32, whose neighbours in bfloat16 are 10.8125 and 10.875."""
    logits = torch.zeros(50_000, dtype=torch.bfloat16)
    assert fn.action_logprobs(logits, torch.tensor(7)).item() == pytest.approx(-math.log(50_000), rel=1e-6)
    assert fn.entropy(logits).item() == pytest.approx(math.log(50_000), rel=1e-6)


@pytest.mark.parametrize("actions", [1, 2, 16, 17])
def test_log_softmax_is_torchs_whatever_the_number_of_actions(actions: int) -> None:
    """With few actions it is computed over the first dimension; value and gradient are the same."""
    x = torch.randn(3, 4, actions, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.arange(x.numel(), dtype=torch.float64).view(x.shape)
    ours, theirs = fn.log_softmax(x), torch.log_softmax(x, -1)
    torch.testing.assert_close(ours, theirs)
    (slope,) = torch.autograd.grad((ours * weights).sum(), x)
    torch.testing.assert_close(slope, torch.autograd.grad((theirs * weights).sum(), x)[0])
