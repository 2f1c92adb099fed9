"""Policies with bounded actions, critics of actions and temperatures."""

from typing import Any

import pytest
import torch
from torch import nn

from burnish.policies.control.squashed import ActionNetwork, SquashedPolicy, Temperature
from burnish.run import UserError


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("activation", "layer"), [("tanh", nn.Tanh), ("relu", nn.ReLU)])
def test_actions_are_those_of_torchs_layers_and_distributions(activation: Any, layer: type[nn.Module]) -> None:
    policy = SquashedPolicy(3, 2, [5, 6], hidden=(6,), activation=activation, dtype=torch.float64)
    policy.theta.detach().add_(0.3 * numbers(*policy.theta.shape, seed=4))
    x, noise = numbers(2, 7, 3), numbers(2, 7, 2, seed=1)
    actions, logprobs = policy.draw(x, noise)
    for run in range(2):
        net = nn.Sequential(nn.Linear(3, 6), layer(), nn.Linear(6, 4)).double()
        named = policy.named()
        for linear, i in ((net[0], 0), (net[2], 1)):
            linear.weight.data.copy_(named[f"layers.{i}.weight"][run])
            linear.bias.data.copy_(named[f"layers.{i}.bias"][run])
        mean, log_std = net(x[run]).chunk(2, -1)
        base = torch.distributions.Normal(mean, log_std.exp())
        tanh = torch.distributions.TanhTransform(cache_size=1)
        torch.testing.assert_close(actions[run], (mean + log_std.exp() * noise[run]).tanh())
        own = torch.distributions.TransformedDistribution(base, tanh).log_prob(tanh(mean + log_std.exp() * noise[run]))
        torch.testing.assert_close(logprobs[run], own.sum(-1))
        torch.testing.assert_close(policy.likeliest(x)[run], mean.tanh())
    now, same = policy.act(x, noise)
    torch.testing.assert_close(now, actions.detach())
    torch.testing.assert_close(same, logprobs.detach())
    assert not now.requires_grad


def test_deviations_are_kept_where_they_are_numbers() -> None:
    """Outputs of ±1000: σ is e² or e⁻²⁰."""
    policy = SquashedPolicy(1, 1, [5], hidden=(2,), dtype=torch.float64)
    for out, log_std in ((1000.0, 2.0), (-1000.0, -20.0)):
        policy.theta.detach().zero_()
        policy.theta.detach()[0, -1] = out
        actions, logprobs = policy.draw(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.1, dtype=torch.float64))
        expected = torch.tensor(0.1 * torch.tensor(log_std, dtype=torch.float64).exp().item()).double().tanh()
        assert actions.item() == pytest.approx(expected.item(), rel=1e-6)
        assert torch.isfinite(logprobs).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_critic_reads_observation_and_action(activation: Any) -> None:
    critic = ActionNetwork(3, 2, [5], 1, hidden=(6,), activation=activation, dtype=torch.float64)
    x, actions = numbers(1, 7, 3), numbers(1, 7, 2, seed=1).requires_grad_()
    named = {name: value[0] for name, value in critic.named().items()}
    inside = torch.cat([x[0], actions[0]], -1) @ named["layers.0.weight"].T + named["layers.0.bias"]
    hidden = getattr(torch, activation)(inside)
    expected = (hidden @ named["layers.1.weight"].T + named["layers.1.bias"])[:, 0]
    torch.testing.assert_close(critic.action_values(x, actions)[0], expected)
    frozen = critic.action_values(x, actions, frozen=True)
    torch.testing.assert_close(frozen[0], expected)
    (slope,) = torch.autograd.grad(frozen.sum(), actions)
    (same,) = torch.autograd.grad(expected.sum(), actions)
    torch.testing.assert_close(slope, same)
    assert torch.autograd.grad(critic.action_values(x, actions.detach()).sum(), critic.theta)[0].any()
    with pytest.raises(RuntimeError):
        torch.autograd.grad(critic.action_values(x, actions.detach(), frozen=True).sum(), critic.theta)


def test_the_critics_of_a_run_begin_differently_and_the_same_in_any_group() -> None:
    one, two = (ActionNetwork(3, 2, [5, 6], k, hidden=(6,)).theta for k in (1, 2))
    assert not torch.equal(one, two)
    assert torch.equal(ActionNetwork(3, 2, [6], 2, hidden=(6,)).theta[0], two[1])


def test_temperatures_begin_at_1_and_are_saved_loaded_and_kept() -> None:
    temperature, other = Temperature(2), Temperature(2)
    assert temperature.theta.exp().tolist() == [[1.0], [1.0]]
    temperature.theta.detach().copy_(torch.tensor([[1.0], [2.0]]))
    other.load_named(temperature.named())
    assert other.theta.tolist() == [[1.0], [2.0]]
    other.keep(torch.tensor([1]))
    assert other.theta.tolist() == [[2.0]]
    with pytest.raises(UserError, match="do not match"):
        other.load_named(temperature.named())
