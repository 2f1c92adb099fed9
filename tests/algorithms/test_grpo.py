"""GRPO by hand; its objective is enumerated in tests/theorems/test_groups.py."""

import math

import pytest
import torch

from burnish.algorithms.grpo import GRPO
from burnish.config import build

from .one_group import LOG, one_group, step_of


def test_loss_by_hand() -> None:
    """Scores 3, 0, 0: the mean is 1, the deviation √3, the advantages 2/√3 and −1/√3. Ratios 2 and 1, 1, ½ and 1:
    rows −(1.2 + 1)/2·2/√3 = −2.2/√3, then 1/√3, and (0.8 + 1)/2/√3, as a negative advantage holds ½ at 0.8."""
    found, slopes = step_of(GRPO(beta=0.0, std_eps=0.0), [[LOG[2], 0.0], [0.0], [LOG[0.5], 0.0]])
    assert found["loss"] == pytest.approx((-2.2 + 1 + 0.9) / math.sqrt(3) / 3)
    expected = torch.tensor([[0, -1.0], [1, 0], [0, 0.5]]).double() / math.sqrt(3) / 3
    torch.testing.assert_close(slopes, expected)
    assert found["policy/clipfrac_avg"] == pytest.approx(2 / 5)
    assert found["val/ratio"] == pytest.approx((2 + 1 + 1 + 0.5 + 1) / 5)


def test_dual_clip_by_hand() -> None:
    """A negative advantage with ratio 4 counts as 3."""
    found, slopes = step_of(GRPO(beta=0.0, std_eps=0.0, dual_clip=3.0), [[0.0, 0.0], [LOG[4]], [0.0, 0.0]])
    assert found["loss"] == pytest.approx((-2 + 3 + 1) / math.sqrt(3) / 3)
    assert slopes[1].tolist() == [0, 0]
    assert found["policy/clipfrac_avg"] == pytest.approx(1 / 5)


def test_the_price_by_hand() -> None:
    """The reference is the sampler: k3 = 1/ρ − 1 + log ρ, ½ ·log 2 … of the ratio 2 alone, in a row of two tokens."""
    found, _ = step_of(GRPO(beta=0.5), [[LOG[2], 0.0], [0.0], [0.0, 0.0]])
    assert found["policy/kl_avg"] == pytest.approx((0.5 - 1 + LOG[2]) / 5)
    assert found["loss/kl_avg"] == pytest.approx((0.5 - 1 + LOG[2]) / 2 / 3)
    assert found["loss"] == pytest.approx(found["loss/policy_avg"] + 0.5 * found["loss/kl_avg"])


def test_presets_are_the_papers() -> None:
    dr_grpo, _ = build(GRPO, {"reward": "lexicon", "preset": "dr_grpo"})
    assert (dr_grpo.advantage, dr_grpo.over, dr_grpo.beta) == ("centre", "constant", 0.0)
    dapo, settings = build(GRPO, {"reward": "lexicon", "preset": "dapo"})
    assert (dapo.over, dapo.clip_low, dapo.clip_high, dapo.beta) == ("token", 0.2, 0.28, 0.0)
    assert (settings.experience.redraws, settings.experience.overlong_share) == (10, 0.2)
    assert one_group().counts()["constant"] == 6
