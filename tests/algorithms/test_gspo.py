"""GSPO by hand; its objective is enumerated in tests/theorems/test_groups.py."""

import math

import pytest
import torch

from burnish.algorithms.gspo import GSPO

from .one_group import LOG, step_of


def test_loss_by_hand() -> None:
    """Log-ratios (log 4 + 0)/2 = log 2, 0, and (log ½ + log 2)/2 = 0: the first ratio, 2, is held at 1.5."""
    found, slopes = step_of(GSPO(clip_low=0.5, clip_high=0.5, std_eps=0.0), [[LOG[4], 0.0], [0.0], [LOG[0.5], LOG[2]]])
    assert found["loss"] == pytest.approx((-2 * 1.5 + 1 + 1) / math.sqrt(3) / 3)
    expected = torch.tensor([[0, 0], [1, 0], [0.5, 0.5]]).double() / math.sqrt(3) / 3
    torch.testing.assert_close(slopes, expected)


def test_metrics_count_completions() -> None:
    """One of three was clipped, though it has two of five tokens; the default range is of ten-thousandths."""
    found, _ = step_of(GSPO(), [[1e-3, 0.0], [0.0], [0.0, 0.0]])
    assert found["policy/clipfrac_avg"] == pytest.approx(1 / 3)
    assert found["val/ratio"] == pytest.approx((math.exp(5e-4) + 2) / 3)
    assert (GSPO().clip_low, GSPO().clip_high) == (3e-4, 4e-4)
