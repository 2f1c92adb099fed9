from typing import Any

import pytest
import torch
from torch import Tensor, nn

from burnish.batches import Transitions
from burnish.policies.control.images import Convolutions
from burnish.policies.control.policy import ControlCritic, ControlPolicy

IMAGE = (3, 6, 7)
PIXELS = 3 * 6 * 7
SEEDS = (4, 9)


def stirred(model: Any, seed: int = 0) -> Any:
    """Weights that are not small, so that nothing is near 0 by chance; biases too."""
    model.theta.detach().normal_(0, 0.2, generator=torch.Generator().manual_seed(seed))
    return model


def steps(runs: int, count: int = 5, **own: Any) -> Transitions:
    """`count` single steps of each run with images of bytes, of which run 0 has one fewer."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(runs, 1, count, dtype=torch.bool)
    mask[0, 0, -1] = False
    like = torch.zeros(runs, 1, count, dtype=torch.float64)
    batch: dict[str, Any] = {
        "observations": torch.randint(256, (runs, 1, count, PIXELS), dtype=torch.uint8, generator=generator),
        "actions": torch.randint(4, (runs, 1, count), generator=generator),
        "mask": mask,
        "lengths": mask.sum(-1),
        "rows": torch.arange(1),
        "old_logprobs": like,
        "rewards": like,
        "discounts": like,
        "runs": torch.arange(runs),
        "progress": torch.zeros(runs),
    }
    return Transitions(**batch | own)


def network(named: dict[str, Tensor], run: int) -> nn.Sequential:
    """The run's network in PyTorch's own layers, for one hidden layer."""
    parts: list[nn.Module] = []
    kernels = ((3, 1), (3, 2))
    for i, (kernel, stride) in enumerate(kernels):
        weight = named[f"convolutions.{i}.weight"][run]
        parts += [nn.Conv2d(weight.shape[1], weight.shape[0], kernel, stride, dtype=weight.dtype), nn.ReLU()]
    parts.append(nn.Flatten())
    for i in range(2):
        weight = named[f"layers.{i}.weight"][run]
        parts += [nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype), nn.Tanh()]
    made = nn.Sequential(*parts[:-1])
    names = ["convolutions.0", "convolutions.1", "layers.0", "layers.1"]
    own = [part for part in made if isinstance(part, nn.Conv2d | nn.Linear)]
    for name, part in zip(names, own, strict=True):
        part.weight.detach().copy_(named[f"{name}.weight"][run])
        part.bias.detach().copy_(named[f"{name}.bias"][run])
    return made


def policy(seeds: tuple[int, ...] = SEEDS, **own: Any) -> ControlPolicy:
    return ControlPolicy(PIXELS, 4, seeds, image=IMAGE, hidden=(5,), dtype=torch.float64, **own)


def test_a_policy_of_images_is_pytorchs_network_with_pixels_from_0_to_1() -> None:
    """Log-probabilities and gradients; flattened features in the order of channels, rows, columns."""
    model, batch = stirred(policy()), steps(2)
    named, logprobs = model.named(), model.logprobs(batch)
    (gradient,) = torch.autograd.grad((logprobs * torch.arange(1.0, 6)).sum(), model.theta)
    for run in range(2):
        own, real = network(named, run), batch.mask[run, 0]
        images = batch.observations[run, 0][real].view(-1, *IMAGE).double() / 255
        expected = own(images).log_softmax(-1).gather(1, batch.actions[run, 0][real][:, None])[:, 0]
        torch.testing.assert_close(logprobs[run, 0][real], expected)
        (expected * torch.arange(1.0, 6)[real]).sum().backward()
        moved = stirred(policy())
        with torch.no_grad():
            moved.theta[run] = gradient[run]
        for name, part in zip(("convolutions.0", "convolutions.1", "layers.0", "layers.1"), own[::2], strict=False):
            if isinstance(part, nn.Conv2d):
                torch.testing.assert_close(moved.named()[f"{name}.weight"][run], part.weight.grad)
                torch.testing.assert_close(moved.named()[f"{name}.bias"][run], part.bias.grad)
        last = next(part for part in own if isinstance(part, nn.Linear))
        torch.testing.assert_close(moved.named()["layers.0.weight"][run], last.weight.grad)
    assert (logprobs[0, 0, -1]) == 0


def test_what_acts_is_what_learns_and_the_critic_sees_the_same() -> None:
    model, critic, batch = stirred(policy()), stirred(ControlCritic(PIXELS, SEEDS, image=IMAGE, hidden=(5,))), steps(2)
    noise = torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    actions, logprobs = model.act(batch.observations[:, 0], noise)
    again = model.logprobs(steps(2, actions=actions[:, None], mask=torch.ones(2, 1, 5, dtype=torch.bool)))
    torch.testing.assert_close(logprobs, again[:, 0].detach())
    values = critic.values(batch)
    expected = network(critic.named(), 1)(batch.observations[1, 0].view(-1, *IMAGE).float() / 255)[:, 0]
    torch.testing.assert_close(values[1, 0, :5], expected)


def test_images_that_are_not_bytes_are_taken_as_they_are() -> None:
    model, batch = stirred(policy()), steps(2)
    floats = steps(2, observations=batch.observations.double() / 255)
    torch.testing.assert_close(model.logprobs(floats), model.logprobs(batch))


@pytest.mark.parametrize("continuous", [False, True])
def test_the_fisher_product_is_that_of_all_scores(continuous: bool) -> None:
    """F v = ∇(∇KL·v) of mean KL(π_old‖π) at π_old, by two derivatives of autograd."""
    model = stirred(policy(continuous=continuous))
    batch = steps(2, actions=torch.zeros(2, 1, 5, 4, dtype=torch.float64)) if continuous else steps(2)
    v = torch.randn(model.theta.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    kl = model.distribution(batch).detach().kl(model.distribution(batch))
    mean = torch.stack([kl[run][batch.mask[run]].mean() for run in range(2)]).sum()
    (slope,) = torch.autograd.grad(mean, model.theta, create_graph=True)
    (expected,) = torch.autograd.grad((slope * v).sum(), model.theta)
    product = model.fisher_product(batch)
    torch.testing.assert_close(product(v), expected)
    torch.testing.assert_close(product(2 * v), 2 * expected)


def test_a_run_of_images_is_the_same_alone_and_saved_weights_come_back() -> None:
    together, alone = policy(), policy((9,))
    for name, weights in together.named().items():
        assert torch.equal(weights[1], alone.named()[name][0])
    batch = steps(2)
    own = steps(1, observations=batch.observations[1:], actions=batch.actions[1:], mask=batch.mask[1:])
    assert torch.equal(together.logprobs(batch)[1], alone.logprobs(own)[0])
    other = policy((77,))
    other.load_named({name: x.clone() for name, x in alone.named().items()})
    assert torch.equal(other.theta, alone.theta)


@pytest.mark.parametrize(
    ("image", "shapes"),
    [
        ((4, 84, 84), [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]),
        ((3, 8, 8), [(16, 3, 3, 3), (32, 16, 3, 3)]),
        ((1, 1, 2), [(16, 1, 1, 2), (32, 16, 1, 1)]),
    ],
)
def test_large_images_have_the_network_of_mnih_and_small_ones_a_smaller(
    image: tuple[int, int, int], shapes: list[tuple[int, ...]]
) -> None:
    """84 → 20 → 9 → 7 pixels: 64 · 49 = 3,136 features, as in the paper; 8 → 6 → 2: 32 · 4."""
    convolutions = Convolutions(image)
    theta = torch.zeros(1, convolutions.count)
    convolutions.initialise(theta, torch.Generator().manual_seed(0))
    weights = [x for name, x in convolutions.named(theta).items() if name.endswith("weight")]
    assert [tuple(x.shape[1:]) for x in weights] == shapes
    assert convolutions.features == {84: 3136, 8: 128, 1: 32}[image[1]]
    for weight in weights:
        flat = weight[0].flatten(1)
        small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        torch.testing.assert_close(small, 2 * torch.eye(len(small)), rtol=0, atol=1e-4)
