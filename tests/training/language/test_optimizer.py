"""The optimizers: every update is that of the library's own optimizer on a gradient worked out apart from Burnish."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import BATCH, online_models, settings
from torch import Tensor, nn

from burnish.algorithms.sft import SFT
from burnish.policies.interface import Models
from burnish.run import UserError
from burnish.training.language.learner import step
from burnish.training.language.optimizer import check_optimizer, make_optimizer

Made = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]  # from parameters and their weight decay
RATES = [0.03, 0.02, 0.01, 0.02]
LIBRARY: dict[str, tuple[dict[str, Any], Made]] = {
    "as before": ({"weight_decay": 0.1}, lambda ps, decay: torch.optim.AdamW(ps, weight_decay=decay)),
    "adamw": (
        {"adam_beta1": 0.8, "adam_beta2": 0.9, "adam_epsilon": 1e-3, "weight_decay": 0.1},
        lambda ps, decay: torch.optim.AdamW(ps, betas=(0.8, 0.9), eps=1e-3, weight_decay=decay),
    ),
    "no memory": (  # β of 0 is a value, not the default
        {"adam_beta1": 0.0, "adam_beta2": 0.0},
        lambda ps, decay: torch.optim.AdamW(ps, betas=(0.0, 0.0), weight_decay=decay),
    ),
    "adafactor": (
        {"optimizer": "adafactor", "weight_decay": 0.1},
        lambda ps, decay: torch.optim.Adafactor(ps, weight_decay=decay),
    ),
    "sgd": (
        {"optimizer": "sgd", "weight_decay": 0.1},
        lambda ps, decay: torch.optim.SGD(ps, lr=1.0, weight_decay=decay),
    ),
    "momentum": (
        {"optimizer": "sgd", "momentum": 0.9},
        lambda ps, decay: torch.optim.SGD(ps, lr=1.0, momentum=0.9, weight_decay=decay),
    ),
}


def plain_loss(model: Any) -> Tensor:
    """The mean cross-entropy of the batch's trained tokens, row by row with transformers' own forward pass."""
    losses = [
        nn.functional.cross_entropy(model(ids[None, :n]).logits[0, :-1], ids[1:n], reduction="none")[mask[1:n]]
        for ids, mask, n in zip(BATCH.tokens, BATCH.mask, BATCH.lengths.tolist(), strict=True)
    ]
    return torch.cat(losses).mean()


@pytest.mark.parametrize("name", LIBRARY)
def test_updates_are_those_of_the_library(name: str) -> None:
    options, make = LIBRARY[name]
    models, oracle = Models(policy=tiny.make_policy("llama")), tiny.make_policy("llama").model
    chosen = settings(max_grad_norm=0.0, **options)
    ours = make_optimizer(models, chosen)
    matrices, others = ([p for p in oracle.parameters() if (p.dim() > 1) is wide] for wide in (True, False))
    theirs = [make(matrices, chosen.weight_decay), make(others, 0.0)]
    for rate in RATES:
        step(SFT(), models, BATCH, ours, rate, 0.0)
        oracle.zero_grad()
        plain_loss(oracle).backward()
        for optimizer in theirs:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
    for key, parameter in oracle.named_parameters():
        torch.testing.assert_close(models.policy.parameters()[key], parameter, rtol=1e-7, atol=1e-9)
    before = tiny.make_policy("llama").parameters()
    assert any((p - before[key]).abs().max() > 1e-3 for key, p in models.policy.parameters().items())


def test_the_optimizer_has_every_trained_parameter_once() -> None:
    """Weight decay shrinks matrices alone; the reference is nowhere."""
    models = online_models()
    groups = make_optimizer(models, settings(learning_rate=0.1, weight_decay=0.25)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    assert [group["lr"] for group in groups] == [0.1, 0.1]
    assert [{p.dim() >= 2 for p in group["params"]} for group in groups] == [{True}, {False}]
    critic: Any = models.critic
    trained = [*models.policy.parameters().values(), *critic.parameters().values()]
    found = [id(p) for group in groups for p in group["params"]]
    assert len(found) == len(set(found))
    assert set(found) == {id(p) for p in trained}


def test_without_bitsandbytes_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"adamw_8bit needs the package bitsandbytes: pip install 'burnish\[quantized\]'"
    ):
        check_optimizer(settings(optimizer="adamw_8bit"), "cpu")
    check_optimizer(settings(), "cpu")


def test_a_device_without_8_bits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(UserError, match="no 8-bit AdamW for the device mps: set optimizer to adamw"):
        check_optimizer(settings(optimizer="adamw_8bit"), "mps")
    check_optimizer(settings(optimizer="adamw_8bit"), "cuda:1")


def test_8_bit_updates_are_those_of_bitsandbytes() -> None:
    """The embeddings, of 18 · 256 numbers, have moments of 8 bits; a tensor below 4096 numbers has them in 32."""
    bnb = pytest.importorskip("bitsandbytes", reason="pip install 'burnish[quantized]'")
    policies = [tiny.make_policy("gpt2", double=False, n_embd=256) for _ in range(2)]
    ours, theirs = (list(policy.parameters().values()) for policy in policies)
    options = {"adam_beta1": 0.8, "adam_beta2": 0.9, "adam_epsilon": 1e-6}
    chosen = settings(optimizer="adamw_8bit", weight_decay=0.1, learning_rate=0.01, **options)
    optimizers = [make_optimizer(Models(policy=policies[0]), chosen)]
    for wide in (True, False):
        part = [p for p in theirs if (p.dim() > 1) is wide]
        optimizers.append(
            bnb.optim.AdamW8bit(part, lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1 if wide else 0.0)
        )
    random = torch.Generator().manual_seed(0)
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=random)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert {state["state1"].dtype for state in optimizers[0].state.values()} == {torch.uint8, torch.float32}
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
