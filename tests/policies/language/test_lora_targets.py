"""Adapters of experts against dense weights that are changed by hand, one expert at a time."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from peft import AutoPeftModelForCausalLM
from tiny_mixtures import EXPERTS, FAMILIES, save_mixture
from torch import Tensor
from transformers import AutoModelForCausalLM

from burnish.policies.language.adapters import Lora
from burnish.policies.language.lora_targets import targets_of, without_adapter
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reference import StartingAdapter
from burnish.run import UserError

BATCH = tiny.demonstrations(tiny.random_rows(6, seed=3))
IDS = torch.tensor([[0, 3, 5, 7, 4, 9, 11]])
LORA = Lora(2, alpha=6)


def stirred(policy: LanguagePolicy) -> LanguagePolicy:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return policy


@torch.no_grad()
def logprobs(policy: Any) -> Tensor:
    return policy.logprobs(BATCH)


def change_of_one_expert(folder: Any, prefix: str, expert: int) -> Tensor:
    """(α/r)·B A of one expert: rows of A are ordered by expert, columns of B by rank."""
    a, b = folder[f"{prefix}.lora_A.default.weight"], folder[f"{prefix}.lora_B.default.weight"]
    change = torch.zeros(b.shape[0], a.shape[1])
    for rank in range(2):
        change += torch.outer(b[:, rank * EXPERTS + expert], a[expert * 2 + rank])
    return 3.0 * change


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_adapter_changes_no_bit_and_is_its_own_reference(family: str, tmp_path: Path) -> None:
    save_mixture(tmp_path, family)
    policy, plain = load_policy(tmp_path, lora=LORA), load_policy(tmp_path)
    assert torch.equal(logprobs(policy), logprobs(plain))
    reference = StartingAdapter(policy)
    stirred(policy)
    assert (logprobs(policy) - logprobs(plain)).abs().max() > 0.1
    assert torch.equal(reference.logprobs(BATCH), logprobs(plain))


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss"])
def test_each_expert_has_an_adapter_of_its_own(family: str, tmp_path: Path) -> None:
    """The policy is the plain model with W + (α/r)·B A in every expert; GPT-OSS stores W the other way round."""
    policy = stirred(load_policy(save_mixture(tmp_path, family), lora=Lora(2, 6, 0.0, "experts.down_proj")))
    model, weights = load_policy(tmp_path), policy.adapter.state_dict()
    with torch.no_grad():
        for number, layer in enumerate(model.model.model.layers):
            for expert in range(EXPERTS):
                prefix = f"base_model.model.model.layers.{number}.mlp.experts"
                change = change_of_one_expert(weights, prefix, expert)
                layer.mlp.experts.down_proj[expert] += change.T if family == "gpt_oss" else change
    torch.testing.assert_close(logprobs(policy), logprobs(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_of_experts_comes_back_and_is_merged(family: str, tmp_path: Path) -> None:
    """The same bits when it is trained further, the same numbers when it is merged, and plain peft loads it."""
    policy = stirred(load_policy(save_mixture(tmp_path / "base", family), lora=LORA))
    policy.save(tmp_path / "adapter")
    assert torch.equal(logprobs(load_policy(tmp_path / "adapter", lora=Lora(2))), logprobs(policy))
    merged = load_policy(tmp_path / "adapter")
    torch.testing.assert_close(logprobs(merged), logprobs(policy), rtol=0, atol=1e-5)
    merged.save(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    pefts = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter"))
    with torch.no_grad():
        expected = policy.model(input_ids=IDS).logits
        for model in (plain, pefts):
            torch.testing.assert_close(model(input_ids=IDS).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_but_the_router_has_an_adapter(family: str, tmp_path: Path) -> None:
    """Shared experts and dense layers too, whose names peft would take for those of experts in transformers 4."""
    policy = load_policy(save_mixture(tmp_path, family), lora=LORA)
    without = {
        "jetmoe": {"router.layer.weight"},
        "ernie4_5_moe": {"gate.weight", "moe_statics.e_score_correction_bias"},
        "gpt_oss": {"router.weight", "experts.down_proj_bias", "experts.gate_up_proj_bias"},
    }.get(family, {"router.weight" if family in ("granitemoe", "phimoe") else "gate.weight"})
    share, names = without_adapter(policy.model)
    assert set(names) <= without
    assert share < 0.1
    policy.logprobs(BATCH).sum().backward()
    assert all(p.grad is not None for p in policy.parameters().values())


def test_the_share_without_adapter_is_counted(tmp_path: Path) -> None:
    """Mixtral's layer by hand: attention 16·16 + 2·(8·16) + 16·16, experts 4·(3·16·24), router 4·16."""
    policy = load_policy(save_mixture(tmp_path, "mixtral"), lora=Lora(2, targets="q_proj,k_proj,v_proj,o_proj"))
    attention, experts, router = 768, 4608, 64
    share, names = without_adapter(policy.model)
    assert share == pytest.approx((experts + router) / (attention + experts + router))
    assert names == ["experts.down_proj", "experts.gate_up_proj", "gate.weight"]


@pytest.mark.parametrize("family", ["gpt2", "llama", "untied_llama"])
def test_nothing_is_left_out_of_a_dense_model(family: str, tmp_path: Path) -> None:
    policy = load_policy(tiny.save_model(tmp_path, family), lora=LORA)
    assert without_adapter(policy.model) == (0.0, [])


def test_a_name_selects_linear_layers_and_experts(tmp_path: Path) -> None:
    """The shared expert of this model has the names of its experts; peft does not take them for the others here."""
    model = load_policy(save_mixture(tmp_path, "qwen2_moe")).model
    chosen = targets_of(model, "down_proj")
    assert (chosen.modules, chosen.parameters) == (["down_proj"], ["experts.down_proj"])
    with pytest.raises(UserError, match=r"no linear layer named 'experts': .*experts\.gate_up_proj, or all-linear"):
        targets_of(model, "experts")


def test_layers_that_share_their_name_with_others_are_named_in_full() -> None:
    """CTRL numbers its feed-forward layers as it numbers its blocks, h.0 and h.1."""
    config = transformers.CTRLConfig(vocab_size=18, n_embd=8, n_layer=2, n_head=2, dff=8, n_positions=8)
    model = AutoModelForCausalLM.from_config(config)
    chosen = targets_of(model, "0").modules
    assert chosen == ["transformer.h.0.ffn.0", "transformer.h.1.ffn.0"]
    assert set(chosen) < set(targets_of(model, None).modules)
    assert targets_of(model, "Wq").modules == ["Wq"]


def test_dropout_on_experts_is_refused(tmp_path: Path) -> None:
    """It acts on a layer's input, and the experts of a layer have none in common."""
    save_mixture(tmp_path, "mixtral")
    with pytest.raises(UserError, match=r"lora_dropout 0\.1 cannot be applied to experts\.down_proj"):
        load_policy(tmp_path, lora=Lora(2, dropout=0.1))
    load_policy(tmp_path, lora=Lora(2, dropout=0.1, targets="q_proj"))


def test_layers_that_are_never_called_have_no_adapter() -> None:
    """Mamba computes with the weights of these two layers, so that an adapter there would change nothing."""
    config = transformers.MambaConfig(
        vocab_size=18, hidden_size=16, num_hidden_layers=1, state_size=4, conv_kernel=2, expand=2
    )
    assert targets_of(AutoModelForCausalLM.from_config(config), None).modules == ["in_proj", "x_proj"]
