"""Importance weights against a sampler: by hand, and what is at masked places does not matter."""

import math

import pytest
import torch

import burnish.functional as fn

from .helpers import JUNK, close, f64, numbers

MASK = torch.tensor([[True, True, False], [False, True, False]])
OLD = f64([[math.log(0.5), math.log(0.8), 0.0], [0.0, math.log(0.3), 0.0]])
SAMPLER = f64([[math.log(0.25), math.log(0.4), 0.0], [0.0, math.log(0.6), 0.0]])


def test_levels_by_hand() -> None:
    """Ratios 2 and 2, and ½: their products are 4 and ½, their geometric means 2 and ½."""
    for level, expected in (
        ("token", [[2, 2, 1], [1, 0.5, 1]]),
        ("sequence", [[4, 4, 1], [1, 0.5, 1]]),
        ("sequence_mean", [[2, 2, 1], [1, 0.5, 1]]),
    ):
        close(fn.log_weights(OLD, SAMPLER, MASK, level).exp(), f64(expected))


def test_the_weight_of_a_sequence_corrects_every_expectation() -> None:
    """Over two words of a sampler μ: Σ μ ρ f = Σ π f, whatever f; with truncation it is smaller for a positive f."""
    policy, sampler, values = (numbers(9, seed=seed) for seed in range(3))
    logs, other = policy.log_softmax(0), sampler.log_softmax(0)
    weights = fn.log_weights(logs[:, None], other[:, None], torch.ones(9, 1, dtype=torch.bool), "sequence")[:, 0].exp()
    close((other.exp() * weights * values).sum(), (logs.exp() * values).sum())
    less = fn.truncated(weights.log(), 0.0, 1.0)
    assert (other.exp() * less).sum() < 1


def test_limits_by_hand() -> None:
    logs = f64([0.25, 0.5, 1.0, 2.0, 3.0]).log()
    close(fn.truncated(logs, 0.5, 2.0), [0.5, 0.5, 1.0, 2.0, 2.0])
    close(fn.truncated(logs, 0.0, math.inf), [0.25, 0.5, 1.0, 2.0, 3.0])
    close(fn.masked_outside(logs, 0.4, 2.5), [0.0, 0.5, 1.0, 2.0, 0.0])
    assert fn.truncated(f64([1e4]), 0.0, 2.0).tolist() == [2.0]


def test_effective_sample_size_by_hand() -> None:
    """Weights 1 1 2: 16/(3·6). Equal ones 1, one that outweighs all 1/n, and a factor in all changes nothing."""
    assert fn.effective_sample_size(f64([0.0, 0.0, math.log(2)])).item() == pytest.approx(16 / 18)
    assert fn.effective_sample_size(f64([900.0, 900.0, 900 + math.log(2)])).item() == pytest.approx(16 / 18)
    assert fn.effective_sample_size(f64([3.0] * 4)).item() == 1
    assert fn.effective_sample_size(f64([800.0, 0.0, 0.0, 0.0])).item() == pytest.approx(0.25)


@pytest.mark.parametrize("junk", JUNK)
def test_masked_places_do_not_matter(junk: float) -> None:
    for level in ("token", "sequence", "sequence_mean"):
        dirty = fn.log_weights(OLD.masked_fill(~MASK, junk), SAMPLER.masked_fill(~MASK, junk), MASK, level)
        close(dirty, fn.log_weights(OLD, SAMPLER, MASK, level))
