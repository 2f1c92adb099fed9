"""REINFORCE by hand: what an action earned from then on is what it counts."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from phases import ready

from burnish.algorithms.reinforce import Reinforce
from burnish.policies.interface import Models

from .written import JUNK, MASK, assert_same, before, beside_junk, f64, learned, two_rows


def test_advantages_are_the_rewards_to_come() -> None:
    """Rewards 0 and 2, and 1: both steps of the first row saw 2. Mean 5/3 and variance 2/9 make 1/√2, 1/√2 and −√2."""
    for standardised, advantages in (
        (False, [[0, 2, 2], [0, 1, 0]]),
        (True, [[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]]),
    ):
        prepared = ready(Reinforce(standardise_advantages=standardised), Models(policy=before()), two_rows())
        torch.testing.assert_close(prepared.advantages, f64(advantages), rtol=1e-6, atol=1e-12)
        assert prepared.returns is None


def test_a_truncated_row_earned_what_it_earned() -> None:
    """γ = ½ on every step, the last ones included: 0 + ½·2 = 1 and 2; 1. A critic at hand is not asked."""
    batch = dataclasses.replace(two_rows(), discounts=0.5 * MASK.double())
    for models in (Models(policy=before()), Models(policy=before(), critic=before())):
        assert ready(Reinforce(), models, batch).advantages.tolist() == [[0, 1, 2], [0, 1, 0]]  # type: ignore[union-attr]


def test_loss_and_gradient_by_hand() -> None:
    """−(2 log 0.8 + 2 log 0.25 + log 0.75)/3 = −log(0.64 · 0.0625 · 0.75)/3 = −log 0.03/3; entropies 0.3, 0.6, 0.9."""
    found, slopes = learned(Reinforce())
    assert found == pytest.approx({"loss": -math.log(0.03) / 3, "policy/entropy_avg": 0.6})
    torch.testing.assert_close(slopes["logprobs"], f64([[0, -2, -2], [0, -1, 0]]) / 3)
    for name in ("entropy", "values"):
        assert (slopes[name] == 0).all()


def test_entropy_bonus_by_hand() -> None:
    found, slopes = learned(Reinforce(entropy_weight=0.5))
    assert found["loss/policy_avg"] == pytest.approx(-math.log(0.03) / 3)
    assert found["loss/entropy_avg"] == pytest.approx(-0.6)
    assert found["loss"] == pytest.approx(-math.log(0.03) / 3 - 0.3)
    torch.testing.assert_close(slopes["entropy"], -MASK.double() / 6)


CHOICES: list[dict[str, Any]] = [{}, {"standardise_advantages": True, "entropy_weight": 0.1}]


@pytest.mark.parametrize("choice", CHOICES)
def test_cut_into_pieces(choice: dict[str, Any]) -> None:
    assert_same(learned(Reinforce(**choice), pieces=2), learned(Reinforce(**choice)))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places(choice: dict[str, Any], junk: float) -> None:
    assert_same(beside_junk(Reinforce(**choice), junk), learned(Reinforce(**choice)))


@pytest.mark.parametrize("weight", [-0.1, math.nan])
def test_hyperparameters_that_make_no_sense_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="entropy_weight"):
        Reinforce(entropy_weight=weight)
