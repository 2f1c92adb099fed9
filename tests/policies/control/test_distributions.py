"""Distributions of control: against torch's own, and drawing against the noise it is drawn with, enumerated."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal, kl_divergence

from burnish.policies.control.distributions import Categorical, DiagonalGaussian
from burnish.policies.interface import Divergent


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def gaussian(seed: int) -> DiagonalGaussian:
    return DiagonalGaussian(numbers(2, 4, 3, seed=seed), numbers(2, 4, 3, seed=seed + 1) / 2)


def torchs(distribution: DiagonalGaussian) -> Independent:
    return Independent(Normal(distribution.mean, distribution.log_std.exp()), 1)


def test_a_categorical_is_torchs() -> None:
    logits, other = numbers(2, 3, 5), numbers(2, 3, 5, seed=1)
    ours, theirs = Categorical(logits), TorchCategorical(logits=logits)
    assert isinstance(ours, Divergent)
    actions = torch.arange(6).view(2, 3) % 5
    close(ours.logprobs(actions), theirs.log_prob(actions))
    close(ours.entropy(), theirs.entropy())
    close(ours.kl(Categorical(other)), kl_divergence(theirs, TorchCategorical(logits=other)))


def test_a_gaussian_is_torchs() -> None:
    ours, other, actions = gaussian(0), gaussian(10), numbers(2, 4, 3, seed=5)
    assert isinstance(ours, Divergent)
    close(ours.logprobs(actions), torchs(ours).log_prob(actions))
    close(ours.entropy(), torchs(ours).entropy())
    close(ours.kl(other), kl_divergence(torchs(ours), torchs(other)))


def test_fisher_matrices_are_means_of_squared_scores() -> None:
    """E[∇log π ∇log πᵀ] over all actions: (e_a − π)(e_a − π)ᵀ of logits, by hand π = (¼, ¾) and u = (4, 8)."""
    pi = torch.tensor([[0.25, 0.75], [0.5, 0.5]], dtype=torch.float64)
    change = torch.tensor([[4.0, 8.0], [1.0, 1.0]], dtype=torch.float64)
    close(Categorical(pi.log() + 3).fisher(change), torch.tensor([[-0.75, 0.75], [0.0, 0.0]], dtype=torch.float64))
    pi = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    scores = torch.eye(3, dtype=torch.float64) - pi
    matrix = sum(p * torch.outer(score, score) for p, score in zip(pi, scores, strict=True))
    close(Categorical(pi.log()).fisher(torch.eye(3, dtype=torch.float64)), torch.as_tensor(matrix))
    deviations = torch.tensor([2.0, 0.5], dtype=torch.float64)
    one = DiagonalGaussian(torch.ones(2, dtype=torch.float64), deviations.log())
    close(one.fisher(torch.tensor([3.0, 3.0], dtype=torch.float64)), torch.tensor([0.75, 12.0], dtype=torch.float64))


def test_detached_is_the_same_without_gradient() -> None:
    logits = numbers(2, 3).requires_grad_()
    mean, log_std = numbers(2, 3).requires_grad_(), numbers(2, 3, seed=1).requires_grad_()
    plain, normal = Categorical(logits).detach(), DiagonalGaussian(mean, log_std).detach()
    for detached, leaf in ((plain.logits, logits), (normal.mean, mean), (normal.log_std, log_std)):
        assert not detached.requires_grad
        assert torch.equal(detached, leaf)


@pytest.mark.parametrize("probabilities", [[0.25, 0.75], [0.5, 0.125, 0.375], [1.0], [0.0, 0.5, 0.0, 0.5, 0.0]])
def test_every_action_is_drawn_as_often_as_it_is_probable(probabilities: list[float]) -> None:
    """Noise 0, 1/1000, … 999/1000: the share of each action is its probability, and 0 where that is 0."""
    logits = torch.tensor(probabilities, dtype=torch.float64).log() + 3.0
    noise = torch.arange(1000, dtype=torch.float64) / 1000
    actions = Categorical(logits.expand(1000, -1)).sample(noise)
    assert actions.dtype == torch.int64
    assert (actions.diff() >= 0).all()
    for action, probability in enumerate(probabilities):
        assert abs((actions == action).sum().item() - 1000 * probability) <= (1 if probability else 0)


def test_an_action_begins_where_those_before_it_end() -> None:
    """Of ½, ¼, ¼ the first ends below ½ and the second below ¾, each exactly."""
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(6, 3)
    below = [math.nextafter(x, 0) for x in (0.5, 0.75, 1.0)]
    noise = torch.tensor([0.0, below[0], 0.5001, below[1], 0.7501, below[2]], dtype=torch.float64)
    assert Categorical(logits.double()).sample(noise).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("actions", [2, 3, 7, 50])
def test_rounding_never_draws_what_is_impossible(actions: int, dtype: torch.dtype) -> None:
    """The noise next below 1, where sums that fall short of 1 would leave the range, and the noise 0; the last three
    actions of each second row, and the first of all, cannot be taken."""
    logits = numbers(2000, actions, dtype=dtype)
    logits[:, 0] = -math.inf if actions > 2 else 0.0
    logits[::2, max(actions - 3, 2) :] = -math.inf
    for noise in (1 - torch.finfo(dtype).eps / 2, 0.0):
        drawn = Categorical(logits).sample(torch.full((2000,), noise, dtype=dtype))
        assert (drawn >= 0).all()
        assert (drawn < actions).all()
        assert (logits.gather(1, drawn[:, None]) > -math.inf).all()


def test_leading_dimensions_are_drawn_apart() -> None:
    """A sure action at each place, whatever the noise: 0, 1, 2 and 2, 1, 0."""
    sure = torch.tensor([[0, 1, 2], [2, 1, 0]])
    logits = torch.nn.functional.one_hot(sure, 3).double() * 1000
    assert torch.equal(Categorical(logits).sample(torch.full((2, 3), 0.9, dtype=torch.float64)), sure)


def test_a_gaussian_action_is_noise_moved_and_stretched() -> None:
    """Means 1 and −2, deviations 2 and ½: noise (0.5, −1) is (1 + 1, −2 − ½)."""
    distribution = DiagonalGaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[2.0, 0.5]]).log())
    close(distribution.sample(torch.tensor([[0.5, -1.0]])), torch.tensor([[2.0, -2.5]]), 1e-6)
