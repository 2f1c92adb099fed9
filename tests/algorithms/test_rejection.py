"""Rejection sampling learns as SFT does, in as many passes as asked for."""

import pytest
import tiny
import torch
from phases import ready

from burnish.algorithms.rejection import Rejection
from burnish.policies.interface import Models
from burnish.training.step import objective


def test_the_loss_by_hand() -> None:
    """Two completions, −1 −3 and −5: over tokens 9/3 = 3, over texts (2 + 5)/2 = 3.5."""
    batch = tiny.demonstrations([([0, 4, 5, 6], [False, True, True, False]), ([0, 4], [False, True])])
    for over, expected, slope in (("token", 3.0, (-1 / 3, -1 / 3, -1 / 3)), ("sequence", 3.5, (-0.25, -0.25, -0.5))):
        values = torch.tensor([[9.0, -1.0, -3.0, 9.0], [9.0, -5.0, torch.nan, 9.0]], requires_grad=True)
        algorithm, models = Rejection(over=over), Models(policy=tiny.Table(values))
        loss = algorithm.loss(models, ready(algorithm, models, batch))
        value = objective(loss, batch.counts())
        assert value.item() == pytest.approx(expected)
        value.backward()
        torch.testing.assert_close(values.grad, torch.tensor([[0, slope[0], slope[1], 0], [0, slope[2], 0, 0]]))


def test_passes_are_counted_from_1() -> None:
    assert Rejection(update_epochs=1).update_epochs == Rejection().update_epochs
    with pytest.raises(ValueError, match="update_epochs must be at least 1, not 0"):
        Rejection(update_epochs=0)
