"""REINFORCE with a baseline by hand: what the critic expected is taken from what was earned."""

import math
from typing import Any

import pytest
import torch
from phases import ready, sampled

from burnish.algorithms.reinforce_baseline import ReinforceBaseline

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

RETURNS = f64([[0, 2, 2], [0, 1, 0]])


def test_advantages_are_returns_over_values() -> None:
    """2 − ½, 2 − 1 and 1 − 2, of mean ½ and variance (1 + ¼ + 9/4)/3 = 7/6; the returns stay what was earned."""
    for standardised, advantages in (
        (False, f64([[0, 1.5, 1], [0, -1, 0]])),
        (True, f64([[0, 1, 0.5], [0, -1.5, 0]]) / (7 / 6) ** 0.5),
    ):
        algorithm = ReinforceBaseline(standardise_advantages=standardised)
        prepared = ready(algorithm, models_of(before()), two_rows())
        torch.testing.assert_close(prepared.advantages, advantages, rtol=1e-7, atol=1e-12)
        torch.testing.assert_close(prepared.returns, RETURNS)
        torch.testing.assert_close(prepared.old_values, OLD_VALUES[:, :-1])
        assert not any(x.requires_grad for x in (prepared.advantages, prepared.returns, prepared.old_values))  # type: ignore[union-attr]


def test_a_truncated_row_goes_on_from_its_final_value() -> None:
    """γ = ½, r = 1 and 3, V = 2, 5 and then 4: G = 3 + ½·4 = 5 and 1 + ½·5 = 3.5, so A = 0 and 1.5."""
    lengths, nothing = torch.tensor([2]), f64([[0, 0, 0]])
    mask, half = torch.tensor([[True, True, False]]), f64([[0.5, 0.5, 0]])
    batch = sampled(torch.zeros(1, 3).long(), mask, lengths, torch.arange(1), nothing, f64([[1, 3, 0]]), half)
    written = Written(nothing, nothing, f64([[2, 5, 4, 9]]))
    prepared = ready(ReinforceBaseline(), models_of(written), batch)
    assert prepared.returns.tolist() == [[3.5, 5, 0]]  # type: ignore[union-attr]
    assert prepared.advantages.tolist() == [[1.5, 0, 0]]  # type: ignore[union-attr]


def test_loss_and_gradient_by_hand() -> None:
    """Policy: −(1.5 log 0.8 + log 0.25 − log 0.75)/3. Values were 0.9, 1.1, 2.5 of returns 2, 2, 1: the errors are
    −1.1, −0.9 and 1.5, and half their squares 0.605 + 0.405 + 1.125 = 2.135."""
    found, slopes = learned(ReinforceBaseline(value_weight=0.1))
    policy = -(1.5 * math.log(0.8) + math.log(0.25) - math.log(0.75)) / 3
    expected = {
        "loss": policy + 0.2135 / 3,
        "loss/policy_avg": policy,
        "loss/value_avg": 2.135 / 3,
        "policy/entropy_avg": 0.6,
    }
    assert found == pytest.approx(expected)
    torch.testing.assert_close(slopes["logprobs"], f64([[0, -1.5, -1], [0, 1, 0]]) / 3)
    torch.testing.assert_close(slopes["values"], f64([[0, -1.1, -0.9, 0], [0, 1.5, 0, 0]]) / 30)
    assert (slopes["entropy"] == 0).all()


def test_the_critics_loss_counts_whole_unless_told_otherwise() -> None:
    _, slopes = learned(ReinforceBaseline())
    torch.testing.assert_close(slopes["values"], f64([[0, -1.1, -0.9, 0], [0, 1.5, 0, 0]]) / 3)


def test_entropy_bonus_by_hand() -> None:
    found, slopes = learned(ReinforceBaseline(entropy_weight=0.5))
    without, _ = learned(ReinforceBaseline())
    assert found["loss/entropy_avg"] == pytest.approx(-0.6)
    assert found["loss"] == pytest.approx(without["loss"] - 0.3)
    torch.testing.assert_close(slopes["entropy"], -MASK.double() / 6)


CHOICES: list[dict[str, Any]] = [{}, {"standardise_advantages": True, "entropy_weight": 0.1}]


@pytest.mark.parametrize("choice", CHOICES)
def test_cut_into_pieces(choice: dict[str, Any]) -> None:
    assert_same(learned(ReinforceBaseline(**choice), pieces=2), learned(ReinforceBaseline(**choice)))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places(choice: dict[str, Any], junk: float) -> None:
    assert_same(beside_junk(ReinforceBaseline(**choice), junk), learned(ReinforceBaseline(**choice)))


@pytest.mark.parametrize("options", [{"value_weight": -0.1}, {"entropy_weight": -0.1}, {"value_weight": math.nan}])
def test_hyperparameters_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ReinforceBaseline(**options)
