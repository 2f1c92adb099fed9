"""The share of uniform actions over a run."""

import numpy as np
import pytest
import torch

from burnish.algorithms.q_learning import QLearning


def test_the_share_falls_linearly_and_stays() -> None:
    """From 0.9 to 0.1 over the first half: after a quarter it is at the middle, 0.5."""
    method = QLearning(exploration_fraction=0.5, exploration_initial_eps=0.9, exploration_final_eps=0.1)
    expected = [0.9, 0.5, 0.1, 0.1, 0.1]
    assert method.explores(np.array([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == pytest.approx(expected)
    assert method.explores(torch.tensor([0.25])).item() == pytest.approx(0.5)


def test_a_share_beyond_1_is_refused() -> None:
    with pytest.raises(ValueError, match="exploration_final_eps must lie in"):
        QLearning(exploration_final_eps=1.1)
    with pytest.raises(ValueError, match="exploration_fraction must lie in"):
        QLearning(exploration_fraction=0.0)
