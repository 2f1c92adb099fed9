"""SAC's losses and gradients against torch's layers and distributions, each computed by itself."""

from dataclasses import replace

import pytest
import torch
from replays import GAMMA, random_rows
from torch import Tensor, nn

from burnish.algorithms.sac import SAC
from burnish.policies.control.network import Network
from burnish.policies.interface import Models
from burnish.recipes.control.models import models_of

INPUTS, ACTIONS, HIDDEN = 3, 2, 5


def some_models(algorithm: SAC) -> Models:
    """Of two runs; targets that are not their critics, and temperatures of e^0.3 and e^−0.4."""
    network = Network(INPUTS, ACTIONS, True, (HIDDEN,), head="squashed", activation="relu")
    models = models_of(algorithm, network, [1, 2], torch.float64)
    generator = torch.Generator().manual_seed(3)
    for name in ("policy", "target_1", "target_2", "critic_2"):
        theta = models.parts[name].model.theta
        theta.detach().add_(0.3 * torch.randn(theta.shape, generator=generator, dtype=torch.float64))
    if "temperature" in models:
        models.temperature.theta.detach().copy_(torch.tensor([[0.3], [-0.4]]))
    return models


def layers(model: object, run: int) -> nn.Sequential:
    """The same network as torch's."""
    named = model.named()  # type: ignore[attr-defined]
    shapes = [named[f"layers.{i}.weight"].shape[1:] for i in (0, 1)]
    net = nn.Sequential(nn.Linear(*reversed(shapes[0])), nn.ReLU(), nn.Linear(*reversed(shapes[1]))).double()
    for layer, i in ((net[0], 0), (net[2], 1)):
        layer.weight.data.copy_(named[f"layers.{i}.weight"][run])
        layer.bias.data.copy_(named[f"layers.{i}.bias"][run])
    return net


def drawn(policy: nn.Sequential, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std = policy(x).chunk(2, -1)
    base = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
    tanh = torch.distributions.TanhTransform(cache_size=1)
    actions = tanh(mean + base.scale * noise)
    return actions, torch.distributions.TransformedDistribution(base, tanh).log_prob(actions).sum(-1)


@pytest.mark.parametrize("knobs", [{}, {"target_entropy": -0.5}, {"temperature": 0.2}])
def test_every_models_gradient_is_that_of_its_own_loss(knobs: dict[str, float]) -> None:
    """Critics: the regression on y. Policy: through the critics, whose gradient it is not. Temperature: its dual. One
    backward pass over the sum of all terms gives the four that are computed one by one here."""
    algorithm = SAC(**knobs)
    models, rows = some_models(algorithm), random_rows(2, 7, 2, INPUTS, ACTIONS, True)
    assert rows.noise is not None
    loss = algorithm.loss(models, rows)
    trained = models.trained()
    thetas = [model.theta for model in trained.values()]
    total = torch.stack([term.losses.mean(-1).sum() for term in loss.terms.values()]).sum()
    gradients = dict(zip(trained, torch.autograd.grad(total, thetas), strict=True))
    moved = {name: model.theta.detach().clone() for name, model in trained.items()}
    for run in range(2):
        own = replace(rows)
        alpha = 0.2 if algorithm.temperature else models.temperature.theta[run].exp().item()
        wanted = -2.0 if algorithm.target_entropy is None else algorithm.target_entropy
        nets = {name: layers(models.parts[name].model, run) for name in models.parts if name != "temperature"}
        with torch.no_grad():
            after, logprobs = drawn(nets["policy"], own.reached[run], rows.noise[run, :, 0])
            given = torch.cat([own.reached[run], after], -1)
            worth = torch.minimum(nets["target_1"](given), nets["target_2"](given))[:, 0] - alpha * logprobs
        y = torch.zeros(7, dtype=torch.float64)
        for b in range(7):
            length = int(rows.lengths[run, b])
            y[b] = sum(GAMMA**k * rows.rewards[run, b, k] for k in range(length))
            if rows.discounts[run, b, length - 1] > 0:
                y[b] += GAMMA**length * worth[b]
        taken = torch.cat([own.observations[run], own.actions[run]], -1)
        for name in ("critic_1", "critic_2"):
            regression = ((nets[name](taken)[:, 0] - y) ** 2 / 2).mean()
            torch.testing.assert_close(loss.terms[f"{name}_avg"].losses[run].mean(), regression)
            regression.backward()
        actions, logprobs = drawn(nets["policy"], own.observations[run], rows.noise[run, :, 1])
        given = torch.cat([own.observations[run], actions], -1)
        of_policy = (alpha * logprobs - torch.minimum(nets["critic_1"](given), nets["critic_2"](given))[:, 0]).mean()
        torch.testing.assert_close(loss.terms["policy_avg"].losses[run].mean(), of_policy)
        slopes = torch.autograd.grad(of_policy, list(nets["policy"].parameters()))
        for parameter, slope in zip(nets["policy"].parameters(), slopes, strict=True):
            parameter.grad = slope
        for name in ("policy", "critic_1", "critic_2"):
            model = trained[name]
            model.theta.detach().copy_(gradients[name])  # so that `named` gives the gradient by layer
            by_layer = {key: x[run] for key, x in model.named().items()}
            model.theta.detach().copy_(moved[name])
            for i, layer in ((0, nets[name][0]), (1, nets[name][2])):
                torch.testing.assert_close(by_layer[f"layers.{i}.weight"], layer.weight.grad)
                torch.testing.assert_close(by_layer[f"layers.{i}.bias"], layer.bias.grad)
        if algorithm.temperature is None:
            expected = -(logprobs.detach() + wanted).mean()
            torch.testing.assert_close(gradients["temperature"][run, 0], expected)
        assert loss.metrics["policy/temperature"][run].item() == pytest.approx(alpha)
        torch.testing.assert_close(loss.metrics["policy/entropy_avg"][run], -logprobs.detach())
    assert loss.terms.keys() == {f"{name}_avg" for name in trained}


def test_the_temperature_rises_while_the_entropy_is_below_its_target() -> None:
    """log α moves against the gradient −(log π + target): up where −log π < target."""
    models, rows = some_models(SAC()), random_rows(2, 50, 1, INPUTS, ACTIONS, True)
    for target, sign in ((50.0, -1), (-50.0, 1)):
        term = SAC(target_entropy=target).loss(models, rows).terms["temperature_avg"]
        (slope,) = torch.autograd.grad(term.losses.mean(-1).sum(), models.temperature.theta)
        assert (slope.sign() == sign).all()


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="target_entropy is for a temperature that is learned"):
        SAC(temperature=0.1, target_entropy=-1.0)
    assert SAC(target_update_interval=2).following(torch.tensor([1, 2, 3])).tolist() == pytest.approx([0, 0.005, 0])
