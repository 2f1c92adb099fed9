"""CISPO by hand; its objective is enumerated in tests/theorems/test_groups.py."""

import math

import pytest
import torch

from burnish.algorithms.cispo import CISPO

from .one_group import LOG, OLD, step_of


def test_loss_and_gradient_by_hand() -> None:
    """Weights 4 held at 2, 1, and ½ (without a lower limit), times −A log π, over five tokens."""
    found, slopes = step_of(CISPO(clip_high=1.0, std_eps=0.0), [[LOG[4], 0.0], [0.0], [LOG[0.5], 0.0]])
    weights = torch.tensor([[2, 1], [1, 0], [0.5, 1]]).double()
    credit = torch.tensor([[2.0, 2], [-1, 0], [-1, -1]]).double() / math.sqrt(3)
    logprobs = OLD + torch.tensor([[LOG[4], 0], [0, 0], [LOG[0.5], 0]])
    assert found["loss"] == pytest.approx((-weights * credit * logprobs).sum().item() / 5)
    torch.testing.assert_close(slopes, -weights * credit / 5)
    assert found["policy/clipfrac_avg"] == pytest.approx(1 / 5)


def test_no_gradient_vanishes_by_clipping() -> None:
    """Where GRPO's do: every token of a credited completion keeps its slope, however far it has moved."""
    _, slopes = step_of(CISPO(clip_low=0.1, clip_high=0.1), [[3.0, 3.0], [-3.0], [3.0, -3.0]])
    assert (slopes != 0).sum() == 5
