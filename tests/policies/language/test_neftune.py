"""NEFTune: its bound and distribution by the paper, and what it may not depend on."""

import math

import pytest
import tiny
import torch
from torch import Tensor, nn

from burnish.algorithms.sft import SFT
from burnish.policies.interface import Models
from burnish.policies.language.neftune import Neftune
from burnish.policies.language.policy import LanguagePolicy
from burnish.training.step import gradient, mean_metrics

ALPHA, WIDTH = 5.0, 16
ROWS = tiny.random_rows(6, seed=5)
DEVICE = torch.device("cpu")


def noisy_policy(family: str = "gpt2") -> LanguagePolicy:
    policy = tiny.make_policy(family)
    policy.neftune = Neftune(ALPHA)
    policy.dropout(True)
    return policy


def embedded(policy: LanguagePolicy, batch: tiny.Demonstrations) -> list[tuple[Tensor, Tensor]]:
    """What the layer of embeddings is given and what leaves it, noise included, in each forward pass of the batch."""
    seen: list[tuple[Tensor, Tensor]] = []
    model = policy.model.base_model
    first = model.drop.register_forward_hook(lambda _, inputs, output: seen.append((tokens[-1], inputs[0].detach())))
    tokens: list[Tensor] = []
    second = model.wte.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
    policy.logprobs(batch)
    first.remove()
    second.remove()
    return seen


@pytest.mark.parametrize(("length", "width"), [(4, 16), (400, 8)])
def test_noise_is_uniform_up_to_its_bound(length: int, width: int) -> None:
    """Algorithm 1 of the paper: α / √(L·d) times a uniform number in (−1, 1), whose mean is 0 and variance 1/3."""
    torch.manual_seed(3)
    rows = torch.stack(
        [Neftune(ALPHA).noise(row, length, width, DEVICE) for row in range(12800 // length // width + 9)]
    )
    scaled = rows * math.sqrt(length * width) / ALPHA
    assert scaled.abs().max() <= 1 + 1e-6
    assert scaled.abs().max() > 0.99
    assert scaled.mean().item() == pytest.approx(0, abs=0.05)
    assert scaled.square().mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert not torch.equal(rows[0], rows[1])


def test_noise_is_a_function_of_seed_and_row() -> None:
    noise = Neftune(ALPHA).noise
    torch.manual_seed(3)
    first = noise(7, 4, WIDTH, DEVICE)
    torch.rand(5)
    assert torch.equal(noise(7, 4, WIDTH, DEVICE), first)
    torch.manual_seed(4)
    assert not torch.equal(noise(7, 4, WIDTH, DEVICE), first)


def test_every_real_token_has_noise_of_its_rows_length() -> None:
    """Rows of many lengths in one padded batch: each differs from its embeddings by up to 5 / √(its own length · 16),
    and what stands after its end by nothing."""
    policy, batch = noisy_policy(), tiny.demonstrations(ROWS, extra=7)
    model = policy.model.base_model
    torch.manual_seed(0)
    (seen,) = embedded(policy, batch)
    tokens, found = seen
    noise = found - model.wte(tokens) - model.wpe(torch.arange(tokens.shape[1]))
    lengths = {tuple(ids): len(ids) for ids, _ in ROWS}
    for line, read in zip(noise, tokens.tolist(), strict=True):
        (ids,) = (ids for ids in lengths if tuple(read[: len(ids)]) == ids[: len(read)])
        bound = ALPHA / math.sqrt(len(ids) * WIDTH)
        assert bound / 2 < line[: len(ids)].abs().max() <= bound
        assert line[len(ids) :].abs().max() == 0 if len(ids) < len(read) else True


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_noise_depends_on_no_padding_order_or_micro_batch(family: str) -> None:
    def gradients(batch: tiny.Demonstrations, pieces: int = 1, seed: int = 1) -> dict[str, Tensor]:
        models = Models(policy=noisy_policy(family))
        torch.manual_seed(seed)
        if family == "gpt2":
            models.policy.model.config.update({"resid_pdrop": 0.0})  # type: ignore[attr-defined]
        for module in models.policy.model.modules():  # type: ignore[attr-defined]
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        gradient(SFT(), models, batch, pieces)
        return {name: p.grad for name, p in models.policy.parameters().items() if p.grad is not None}

    base = gradients(tiny.demonstrations(ROWS))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    for other in (
        gradients(tiny.demonstrations(ROWS, extra=9)),
        gradients(tiny.demonstrations(ROWS).select(order)),
        gradients(tiny.demonstrations(ROWS), pieces=3),
    ):
        for name, expected in base.items():
            torch.testing.assert_close(other[name], expected, rtol=1e-9, atol=1e-12)
    changed = gradients(tiny.demonstrations(ROWS), seed=2)
    assert any(not torch.allclose(changed[name], expected) for name, expected in base.items())


def test_evaluation_and_sampling_have_no_noise() -> None:
    """Whatever is computed with dropout off is what it is without NEFTune, and no hook stays behind."""
    policy, plain, batch = noisy_policy(), tiny.make_policy("gpt2"), tiny.demonstrations(ROWS)
    assert not torch.allclose(policy.logprobs(batch), plain.logprobs(batch))
    policy.dropout(False)
    assert torch.equal(policy.logprobs(batch), plain.logprobs(batch))
    found, expected = (mean_metrics(SFT(), Models(policy=one), [batch]) for one in (policy, plain))
    assert found == expected
    assert not policy.model.get_input_embeddings()._forward_hooks


def test_each_response_of_a_row_has_noise_of_its_own() -> None:
    """Two equal responses in one row of comparisons, which only a method from outside would train with dropout."""
    ids, mask = ROWS[0]
    policy = noisy_policy()
    for module in policy.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.manual_seed(0)
    one, other = policy.logprobs(tiny.preferences([[(ids, mask), (ids, mask)]]))[0]
    assert not torch.allclose(one, other)
