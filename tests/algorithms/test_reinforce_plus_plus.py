"""REINFORCE++ by hand; its gradient is enumerated in tests/theorems/test_groups.py."""

import math

import pytest
import torch
from phases import ready

from burnish.algorithms.reinforce_plus_plus import ReinforcePlusPlus
from burnish.batches import Episodes
from burnish.config import build
from burnish.policies.interface import Models
from burnish.run import UserError

from .one_group import LOG, OLD, one_group, step_of


def test_advantages_by_hand() -> None:
    """Scores 3, 0, 0 at five tokens, 3, 3 and three 0: mean 1.2, variance (2·1.8² + 3·1.2²)/5 = 2.16."""
    batch = ready(ReinforcePlusPlus(beta=0.0), Models(), one_group())
    deviation = math.sqrt(2.16 + 1e-8)
    expected = torch.tensor([[1.8, 1.8], [-1.2, 0], [-1.2, -1.2]]).double() / deviation
    torch.testing.assert_close(batch.advantages, expected)


def test_a_token_pays_for_itself_and_what_follows() -> None:
    """Log-ratios 1 and ½ in the first completion, β 2: 3 − 3 = 0 and 3 − 1 = 2; mean ⅖, variance 16/25."""
    ref = OLD - torch.tensor([[1.0, 0.5], [0, 0], [0, 0]])
    batch = ready(ReinforcePlusPlus(beta=2.0), Models(), one_group(ref_logprobs=ref))
    expected = torch.tensor([[-0.4, 1.6], [-0.4, 0], [-0.4, -0.4]]).double() / math.sqrt(0.64 + 1e-8)
    torch.testing.assert_close(batch.advantages, expected)


def test_loss_by_hand() -> None:
    """The ratio 2 counts as 1.2, over five tokens."""
    found, slopes = step_of(ReinforcePlusPlus(beta=0.0), [[LOG[2], 0.0], [0.0], [0.0, 0.0]])
    deviation = math.sqrt(2.16 + 1e-8)
    assert found["loss"] == pytest.approx((-1.8 * 2.2 + 3 * 1.2) / deviation / 5)
    assert slopes[0, 0] == 0
    assert slopes[0, 1].item() == pytest.approx(-1.8 / deviation / 5)


def test_the_variant_with_a_baseline_needs_groups() -> None:
    options = {"reward": "lexicon"}
    algorithm, settings = build(ReinforcePlusPlus, options | {"preset": "baseline"})
    assert (algorithm.group_mean, algorithm.kl_in, algorithm.kl_estimator) == (True, "loss", "k2")
    assert settings.experience.completions_per_prompt == 4
    assert build(ReinforcePlusPlus, options)[1].experience.completions_per_prompt == 1
    with pytest.raises(UserError, match="reinforce_plus_plus compares the completions of a prompt: set"):
        build(ReinforcePlusPlus, options | {"group_mean": True})
    assert issubclass(type(one_group()), Episodes)
