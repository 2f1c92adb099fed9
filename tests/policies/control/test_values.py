"""Policies that take the action of the highest value: networks as torch's, tables, saving and loading."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from burnish.policies.control.values import TablePolicy, ValuePolicy
from burnish.run import UserError


@pytest.mark.parametrize(("activation", "layer"), [("tanh", nn.Tanh), ("relu", nn.ReLU)])
def test_values_are_those_of_torchs_layers(activation: Any, layer: type[nn.Module]) -> None:
    policy = ValuePolicy(3, 4, [5, 6], hidden=(6,), activation=activation, dtype=torch.float64)
    x = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for run in range(2):
        net = nn.Sequential(nn.Linear(3, 6), layer(), nn.Linear(6, 4)).double()
        named = policy.named()
        for linear, i in ((net[0], 0), (net[2], 1)):
            linear.weight.data.copy_(named[f"layers.{i}.weight"][run])
            linear.bias.data.copy_(named[f"layers.{i}.bias"][run])
        torch.testing.assert_close(policy.action_values(x)[run], net(x[run]))
        actions, logprobs = policy.act(x, torch.zeros(2, 7))
        assert torch.equal(actions[run], net(x[run]).argmax(-1))
        assert torch.equal(policy.likeliest(x)[run], actions[run])
        assert (logprobs == 0).all()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_values_that_are_no_numbers_show_in_the_logprobs(broken: float) -> None:
    policy = ValuePolicy(3, 4, [5, 6], hidden=(6,))
    policy.theta.detach()[1] = broken
    _, logprobs = policy.act(torch.ones(2, 1, 3), torch.zeros(2, 1))
    assert torch.isfinite(logprobs[:, 0]).tolist() == [True, False]


def test_images_have_values_too() -> None:
    policy = ValuePolicy(192, 2, [5], image=(3, 8, 8), hidden=(4,), activation="relu")
    x = torch.randint(0, 256, (1, 2, 192), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    values = policy.action_values(x)
    torch.testing.assert_close(policy._values_now(x), values.detach())
    (gradient,) = torch.autograd.grad(values.sum(), policy.theta)
    assert (gradient != 0).any()


def a_table() -> TablePolicy:
    """Of states 0, 1, 2 and actions 0, 1: [[1, 2], [4, 3], [5, 5]] in run 0, and 0 in run 1."""
    policy = TablePolicy(3, 2, [5, 6])
    policy.theta.detach()[0] = torch.tensor([1.0, 2, 4, 3, 5, 5])
    return policy


def test_a_table_is_read_by_state() -> None:
    policy, states = a_table(), torch.eye(3)[[2, 0, 1]].expand(2, 3, 3)
    assert policy.action_values(states).tolist() == [[[5, 5], [1, 2], [4, 3]], [[0, 0]] * 3]
    assert policy.likeliest(states).tolist() == [[0, 1, 0], [0, 0, 0]]
    actions, logprobs = policy.act(states, torch.zeros(2, 3))
    assert actions.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert (logprobs == 0).all()
    cells = policy.cells(states, torch.tensor([[1, 0, 1], [0, 0, 0]]))
    assert cells.tolist() == [[5, 0, 3], [4, 0, 2]]


def test_a_table_is_saved_loaded_and_kept() -> None:
    policy, other = a_table(), TablePolicy(3, 2, [1, 2])
    other.load_named(policy.named())
    assert torch.equal(other.theta, policy.theta)
    assert policy.named()["table"].shape == (2, 3, 2)
    policy.keep(torch.tensor([1]))
    assert (policy.runs, policy.theta.tolist()) == (1, [[0.0] * 6])
    with pytest.raises(UserError, match="do not match"):
        policy.load_named(other.named())
