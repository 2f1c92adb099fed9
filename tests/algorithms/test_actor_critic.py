"""The actor-critic by hand: the critic stands in for what comes later."""

import math
from typing import Any

import pytest
import torch
from phases import ready, sampled

from burnish.algorithms.actor_critic import ActorCritic

from .written import (
    JUNK,
    MASK,
    OLD_VALUES,
    Written,
    assert_same,
    before,
    beside_junk,
    f64,
    learned,
    models_of,
    two_rows,
)


@pytest.mark.parametrize(("lambda_", "first"), [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5)])
def test_advantages_by_hand(lambda_: float, first: float) -> None:
    """δ = 0 + 1 − ½ and 2 − 1, so A = ½ + λ and 1; the other row's is 1 − 2 = −1. R = A + V."""
    prepared = ready(ActorCritic(lambda_=lambda_), models_of(before()), two_rows())
    torch.testing.assert_close(prepared.advantages, f64([[0, first, 1], [0, -1, 0]]))
    torch.testing.assert_close(prepared.returns, f64([[0, first + 0.5, 2], [0, 1, 0]]))
    torch.testing.assert_close(prepared.old_values, OLD_VALUES[:, :-1])
    assert not any(x.requires_grad for x in (prepared.advantages, prepared.returns, prepared.old_values))  # type: ignore[union-attr]


def test_standardised_advantages_by_hand() -> None:
    """1, 1 and −1, of mean ⅓ and variance 8/9; the returns are of the advantages as they are."""
    prepared = ready(ActorCritic(lambda_=0.5, standardise_advantages=True), models_of(before()), two_rows())
    expected = f64([[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]])
    torch.testing.assert_close(prepared.advantages, expected, rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(prepared.returns, f64([[0, 1.5, 2], [0, 1, 0]]))


def test_a_truncated_row_goes_on_from_its_final_value() -> None:
    """γ = ½, r = 1 and 3, V = 2, 5 and then 4: δ = 1 + 2.5 − 2 = 1.5 and 3 + 2 − 5 = 0, so with λ = 0 R = 3.5 and 5."""
    lengths, nothing = torch.tensor([2]), f64([[0, 0, 0]])
    mask, half = torch.tensor([[True, True, False]]), f64([[0.5, 0.5, 0]])
    batch = sampled(torch.zeros(1, 3).long(), mask, lengths, torch.arange(1), nothing, f64([[1, 3, 0]]), half)
    written = Written(nothing, nothing, f64([[2, 5, 4, 9]]))
    prepared = ready(ActorCritic(lambda_=0.0), models_of(written), batch)
    assert prepared.returns.tolist() == [[3.5, 5, 0]]  # type: ignore[union-attr]


def test_loss_and_gradient_by_hand() -> None:
    """λ = ½. Policy: −(log 0.8 + log 0.25 − log 0.75)/3 = −log(4/15)/3. Values were 0.9, 1.1, 2.5 of returns 1.5, 2, 1:
    half the squares of −0.6, −0.9 and 1.5 are 0.18 + 0.405 + 1.125 = 1.71."""
    found, slopes = learned(ActorCritic(lambda_=0.5, value_weight=0.1))
    policy = -math.log(4 / 15) / 3
    expected = {
        "loss": policy + 0.171 / 3,
        "loss/policy_avg": policy,
        "loss/value_avg": 1.71 / 3,
        "policy/entropy_avg": 0.6,
    }
    assert found == pytest.approx(expected)
    torch.testing.assert_close(slopes["logprobs"], f64([[0, -1, -1], [0, 1, 0]]) / 3)
    torch.testing.assert_close(slopes["values"], f64([[0, -0.6, -0.9, 0], [0, 1.5, 0, 0]]) / 30)
    assert (slopes["entropy"] == 0).all()


def test_the_critics_loss_counts_whole_unless_told_otherwise() -> None:
    """So that its gradient is the error: the same as a coefficient of ½ on the squared error."""
    _, slopes = learned(ActorCritic(lambda_=0.5))
    torch.testing.assert_close(slopes["values"], f64([[0, -0.6, -0.9, 0], [0, 1.5, 0, 0]]) / 3)


def test_entropy_bonus_by_hand() -> None:
    found, slopes = learned(ActorCritic(entropy_weight=0.5))
    without, _ = learned(ActorCritic())
    assert found["loss/entropy_avg"] == pytest.approx(-0.6)
    assert found["loss"] == pytest.approx(without["loss"] - 0.3)
    torch.testing.assert_close(slopes["entropy"], -MASK.double() / 6)


CHOICES: list[dict[str, Any]] = [{}, {"standardise_advantages": True, "entropy_weight": 0.1}]


@pytest.mark.parametrize("choice", CHOICES)
def test_cut_into_pieces(choice: dict[str, Any]) -> None:
    assert_same(learned(ActorCritic(**choice), pieces=2), learned(ActorCritic(**choice)))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places(choice: dict[str, Any], junk: float) -> None:
    assert_same(beside_junk(ActorCritic(**choice), junk), learned(ActorCritic(**choice)))


@pytest.mark.parametrize(
    "options",
    [{"lambda_": -0.1}, {"lambda_": 1.1}, {"lambda_": math.nan}, {"value_weight": -0.1}, {"entropy_weight": -0.1}],
)
def test_hyperparameters_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ActorCritic(**options)
