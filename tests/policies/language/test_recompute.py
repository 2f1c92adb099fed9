"""Layers that are computed again in the backward pass, against the same model without: the same bits."""

from pathlib import Path
from typing import Any

import families
import pytest
import tiny
import tiny_mixtures
import torch
from tiny_scorers import make_scorer
from torch import Tensor, nn

from burnish.policies.language.adapters import Lora
from burnish.policies.language.neftune import Neftune
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reader import TokenReader
from burnish.policies.language.recompute import outermost, recompute_layers
from burnish.run import UserError

BATCH = tiny.demonstrations(tiny.random_rows(5, seed=3))
OTHERS = ("mamba", "bamba", "bloom", "deepseek_v3", "phi3", "llama")
MIXTURES = ("olmoe", "mixtral", "gpt_oss", "jetmoe")


def policy_of(family: str) -> LanguagePolicy:
    """A policy in float32; a mixture with its load-balancing loss."""
    if family in MIXTURES:
        model = tiny_mixtures.make_mixture(family, output_router_logits=True)
    elif family in OTHERS:
        model = families.make_model(family)
    else:
        model = tiny.make_model(family)
    return LanguagePolicy(model.float(), tiny.make_tokenizer())


def learned(model: TokenReader, numbers: Any, dropout: bool = False) -> tuple[dict[str, Tensor], int]:
    """Loss and gradients by name, and how many numbers were kept for the backward pass outside of the layers."""
    kept: list[int] = []
    torch.manual_seed(5)
    model.dropout(dropout)
    model.model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        loss = numbers(BATCH).square().sum() if callable(numbers) else numbers
        loss.backward()
    model.dropout(False)
    gradients = {name: p.grad.clone() for name, p in model.parameters().items() if p.grad is not None}
    return gradients | {"loss": loss.detach(), "random": torch.rand(1)}, sum(kept)


def check_same(model: TokenReader, numbers: Any, dropout: bool = False) -> None:
    """Nothing but memory changes once the layers are computed again."""
    before, kept = learned(model, numbers, dropout)
    recompute_layers(model.model)
    after, still = learned(model, numbers, dropout)
    assert before.keys() == after.keys()
    assert len(before) > 3
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    assert still < kept / 2


@pytest.mark.parametrize("family", [*tiny.FAMILIES, *OTHERS])
def test_loss_and_gradient_keep_their_bits(family: str) -> None:
    model = policy_of(family)
    check_same(model, model.logprobs)


@pytest.mark.parametrize("family", MIXTURES)
def test_the_routers_are_counted_once(family: str) -> None:
    model = policy_of(family)
    assert model.balance is not None

    def numbers(batch: Any) -> Tensor:
        with model.own_losses() as own:
            loss = model.logprobs(batch).sum()
        ((weight, value),) = own.values()
        assert model.balance is not None
        return (loss + 100 * weight * value)[None]

    check_same(model, numbers)


def test_dropout_and_noise_are_drawn_again_as_they_were() -> None:
    model = LanguagePolicy(
        tiny.make_model("gpt2", resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3), tiny.make_tokenizer()
    )
    model.neftune = Neftune(5.0)
    without, _ = learned(model, model.logprobs)
    check_same(model, model.logprobs, dropout=True)
    assert not torch.equal(without["loss"], learned(model, model.logprobs, dropout=True)[0]["loss"])


@pytest.mark.parametrize("numbers", ["scores", "values"])
def test_a_reward_model_and_a_critic_too(numbers: str) -> None:
    model = make_scorer("llama", double=False)
    check_same(model, getattr(model, numbers))


@pytest.mark.parametrize("dropout", [False, True])
def test_an_adapter_on_a_frozen_base(dropout: bool, tmp_path: Path) -> None:
    """No input of a layer has a gradient then; B is 0 at first, and A would have none."""
    model = load_policy(tiny.save_model(tmp_path / "m", "llama"), lora=Lora(2, dropout=0.5 if dropout else 0.0))
    for name, p in model.parameters().items():
        assert "lora" in name
        nn.init.normal_(p)
    check_same(model, model.logprobs, dropout)


def test_bfloat16_under_autocast() -> None:
    model = LanguagePolicy(tiny.make_model("llama"), tiny.make_tokenizer(), "bfloat16")
    check_same(model, model.logprobs)


def test_without_a_gradient_nothing_is_computed_twice() -> None:
    """Each of two layers once, but twice with a gradient; the cache of a sampler is filled."""
    model = tiny.make_policy("llama")
    calls: list[bool] = []
    for layer in outermost(model.model):
        layer.mlp.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    recompute_layers(model.model)
    ids = BATCH.tokens[:1]
    with torch.no_grad():
        model.logprobs(BATCH)
        assert calls == [False] * 2
        assert model.model(input_ids=ids, use_cache=True).past_key_values.get_seq_length() == ids.shape[1]
    calls.clear()
    model.logprobs(BATCH).sum().backward()
    assert calls == [True] * 4


def test_a_family_without_such_layers_is_refused() -> None:
    model = families.make_model("openai-gpt", name_or_path="here/old")
    with pytest.raises(UserError, match=r"here/old \(openai-gpt\) has no layers that gradient_checkpointing applies"):
        recompute_layers(model)
