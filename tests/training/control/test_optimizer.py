"""Plain steps of many runs; `test_lockstep` compares Adam's with torch's."""

import pytest
import torch

from burnish.training.control.optimizer import StackedSGD, scheduled


def test_only_the_runs_that_go_move_and_count() -> None:
    theta, gradient = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[10.0, 0.0], [10.0, float("nan")]])
    sgd = StackedSGD()
    assert sgd.named(0) == {}
    sgd.step(theta, gradient, torch.tensor([True, False]), 0.1)
    assert theta.tolist() == [[0.0, 2.0], [3.0, 4.0]]
    sgd.step(theta, torch.ones(2, 2), torch.tensor([True, True]), torch.tensor([[1.0], [2.0]]))
    assert theta.tolist() == [[-1.0, 1.0], [1.0, 2.0]]
    assert sgd.counts == [2, 1]
    other = StackedSGD()
    other.load_named(theta, [sgd.named(1), {}])
    assert other.counts == [1, 0]
    sgd.keep(torch.tensor([1]))
    assert sgd.counts == [1]


def test_a_linear_rate_falls_to_0_by_each_runs_progress() -> None:
    assert scheduled(0.5, "constant", torch.tensor([0.3])) == 0.5
    found = scheduled(0.5, "linear", torch.tensor([0.0, 0.5, 1.5]))
    assert torch.as_tensor(found).flatten().tolist() == pytest.approx([0.5, 0.25, 0.0])
