"""RLOO by hand; its objective is enumerated in tests/theorems/test_groups.py."""

import math

import pytest
import torch

from burnish.algorithms.rloo import RLOO

from .one_group import LOG, OLD, step_of


def test_loss_by_hand() -> None:
    """Scores 3, 0, 0 less the mean of the others: 3, −1½, −1½. Whole completions, averaged over three."""
    found, slopes = step_of(RLOO(beta=0.0), [[0.0, 0.0], [0.0], [0.0, 0.0]])
    assert found["loss"] == pytest.approx(-(3 * -1.5 - 1.5 * -2.0 - 1.5 * -1.25) / 3)
    torch.testing.assert_close(slopes, torch.tensor([[-1.0, -1.0], [0.5, 0], [0.5, 0.5]]).double())
    assert found.keys() == {"loss"}


def test_the_price_is_of_the_whole_completion_and_before_the_baseline() -> None:
    """β 1 and log-ratios 1, 0 and −2 make the scores 2, 0 and 2: advantages 1, −2 and 1."""
    kl = torch.tensor([[1.0, 0.0, -2.0]] * 3).double()
    _, slopes = step_of(RLOO(beta=1.0), [[0.0, 0.0], [0.0], [0.0, 0.0]], peers_kl=kl, ref_logprobs=OLD)
    torch.testing.assert_close(slopes, -torch.tensor([[1.0, 1.0], [-2, 0], [1, 1]]).double() / 3)


def test_a_ratio_per_completion_by_hand() -> None:
    """Ratios 2·2 = 4, ½, and 2·½ = 1: clipped at 1.2 and, as its advantage is negative, at 0.8; the third is not."""
    moved = [[LOG[2], LOG[2]], [LOG[0.5]], [LOG[2], LOG[0.5]]]
    found, slopes = step_of(RLOO(beta=0.0, ratio="sequence"), moved)
    assert found["loss"] == pytest.approx((-3 * 1.2 + 1.5 * 0.8 + 1.5) / 3)
    torch.testing.assert_close(slopes, torch.tensor([[0, 0], [0, 0], [0.5, 0.5]]).double())
    assert found["policy/clipfrac_avg"] == pytest.approx(2 / 3)
    assert found["policy/approxkl_avg"] == pytest.approx((math.log(4) ** 2 + math.log(0.5) ** 2) / 2 / 3)


def test_a_ratio_per_token_by_hand() -> None:
    """Only the token of ratio 2 in the first completion is clipped, at 1.2; the sums of completions stay."""
    found, slopes = step_of(RLOO(beta=0.0, ratio="token"), [[LOG[2], 0.0], [0.0], [0.0, 0.0]])
    assert found["loss"] == pytest.approx((-3 * 2.2 + 1.5 + 1.5 * 2) / 3)
    torch.testing.assert_close(slopes, torch.tensor([[0, -1.0], [0.5, 0], [0.5, 0.5]]).double())
