"""Weights of a bandit with two actions, all sequences enumerated, against closed forms."""

import itertools
import math

import pytest
import torch

from burnish.evaluation.importance import prefix_log_weights, spread


def every_sequence(outcomes: list[float], length: int) -> torch.Tensor:
    """The log-weights of each choice in all sequences of equally likely `outcomes` with these weights, [N, T]."""
    return torch.tensor(list(itertools.product(outcomes, repeat=length))).double().log()


@pytest.mark.parametrize("length", [1, 2, 5, 9])
@pytest.mark.parametrize(
    ("outcomes", "v"),
    [
        ([1.5, 0.5], 0.25),  # μ = (½, ½), π = (¾, ¼): v = (2·¾ − 1)²
        ([2.0, 2 / 3, 2 / 3, 2 / 3], 1 / 3),  # μ = (¼, ¾), π = (½, ½): E[ρ²] = ¼·4 + ¾·4/9 = 4/3
    ],
)
def test_the_variance_of_a_product_of_independent_choices(outcomes: list[float], v: float, length: int) -> None:
    """E[ρ] = 1 and E[ρ²] = (1 + v)^T: the variance is (1 + v)^T − 1, and the effective sample size (1 + v)^−T."""
    length = min(length, 9 if len(outcomes) == 2 else 5)
    logs = every_sequence(outcomes, length)
    mask = torch.ones(logs.shape, dtype=torch.bool)
    whole, first = prefix_log_weights(logs, torch.zeros_like(logs), mask, [length, 1])
    weights = whole.exp()
    assert weights.mean().item() == pytest.approx(1)
    assert weights.var(correction=0).item() == pytest.approx((1 + v) ** length - 1)
    found, one = spread(whole), spread(first)
    assert found["ess"] == pytest.approx((1 + v) ** -length)
    assert one["ess"] == pytest.approx(1 / (1 + v))
    assert found["log_variance"] == pytest.approx(length * one["log_variance"])
    assert found["log_largest"] == pytest.approx(length * math.log(max(outcomes)))
    assert found["share"] == pytest.approx((max(outcomes) / len(outcomes)) ** length)


def test_prefixes_by_hand() -> None:
    """Log-ratios 1, 2, 4 in places 2, 3, 5 of the first episode, and 8 in place 1 of the second, which ends there."""
    mask = torch.tensor([[False, True, True, False, True], [True, False, False, False, False]])
    new = torch.tensor([[9.0, 1, 2, 9, 4], [8, 9, 9, 9, torch.nan]])
    found = prefix_log_weights(new, torch.zeros(2, 5), mask, [1, 2, 3, 7])
    assert found.tolist() == [[1, 8], [3, 8], [7, 8], [7, 8]]
    with pytest.raises(ValueError, match="1 action or more, not of 0"):
        prefix_log_weights(new, torch.zeros(2, 5), mask, [2, 0])


def test_an_episode_that_ends_early_keeps_the_mean_at_one() -> None:
    """Of two choices the second is made only after the first action: three episodes with the probabilities ¼, ¼ and ½
    under μ, and 9/16, 3/16 and 1/4 under π; each stands in the sample as often as μ gives it."""
    log = math.log
    new = torch.tensor([[log(3 / 4), log(3 / 4)], [log(3 / 4), log(1 / 4)], [log(1 / 4), 0], [log(1 / 4), 0]])
    old = torch.full((4, 2), log(1 / 2))
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    for logs in prefix_log_weights(new, old, mask, [1, 2]):
        assert logs.exp().mean().item() == pytest.approx(1)


def test_equal_weights_lose_nothing() -> None:
    assert spread(torch.zeros(8)) == {"ess": 1.0, "share": 0.125, "log_largest": 0.0, "log_variance": 0.0}
    assert spread(torch.tensor([0.0, 2000.0]))["ess"] == pytest.approx(0.5)  # e²⁰⁰⁰ does not overflow
