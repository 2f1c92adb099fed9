"""Adapters against dense weights that are changed by hand, and against what peft itself loads."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file, save_file
from tiny_scorers import make_scorer
from transformers import GenerationConfig
from transformers.pytorch_utils import Conv1D

from burnish.policies.language import adapters
from burnish.policies.language.adapters import (
    Lora,
    arithmetic,
    base_of,
    is_adapter,
    is_scorer_adapter,
    own_lora,
    source_of,
)
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.run import UserError

FAMILIES = ["gpt2", "llama", "qwen", "gemma2", "neox", "opt"]
ROWS = tiny.random_rows(5, seed=3)
RANK_4 = Lora(4)
BATCH = tiny.demonstrations(ROWS)
IDS = torch.tensor([[0, 3, 5, 7, 4]])


def stirred(model: Any, scale: float = 0.2) -> Any:
    """The policy or scorer with random numbers added to all that it trains."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters().values():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def adapted(folder: Path, family: str = "gpt2", lora: Lora = RANK_4, seed: int = 0) -> LanguagePolicy:
    """A tiny model saved at `folder`, loaded with a new adapter."""
    return load_policy(tiny.save_model(folder, family), lora=lora, seed=seed)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An adapter that is not 0, of the base `tmp_path / base`."""
    stirred(adapted(tmp_path / "base")).save(tmp_path / "adapter")
    return tmp_path / "adapter"


def edit(folder: Path, **changes: Any) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


# New adapters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_adapter_changes_no_bit(family: str, tmp_path: Path) -> None:
    policy = adapted(tmp_path, family)
    base = load_policy(tmp_path)
    with torch.no_grad():
        assert torch.equal(policy.logprobs(BATCH), base.logprobs(BATCH))
        assert torch.equal(policy.model(IDS).logits, base.model(IDS).logits)


@pytest.mark.parametrize(("family", "count"), [("gpt2", 512), ("llama", 464), ("qwen", 464)])
def test_only_adapters_are_trained(family: str, count: int, tmp_path: Path) -> None:
    """r·(in + out) a layer, over two blocks of width 16. GPT-2: 16→48, 16→16, 16→64, 64→16, that is 64 + 32 + 80 + 80.
    Llama with one head of two for keys and values, and a gate: 32 + 24 + 24 + 32 + 40 + 40 + 40. Heads have none."""
    found = adapted(tmp_path, family, Lora(3)).parameters()
    assert sum(p.numel() for p in found.values()) == 3 * count
    assert all(".lora_A." in name or ".lora_B." in name for name in found)
    assert not any("lm_head" in name or "embed" in name or "wte" in name for name in found)


def dense(policy: LanguagePolicy, base: LanguagePolicy) -> LanguagePolicy:
    """The base with W + (α/r)·B A written into its weights, one layer at a time; GPT-2's lie transposed."""
    scale = policy.adapter.peft_config["default"].lora_alpha / policy.adapter.peft_config["default"].r
    inside = dict(policy.model.named_modules())
    with torch.no_grad():
        for name, module in base.model.named_modules():
            layer: Any = inside.get(name)
            if hasattr(layer, "lora_A"):
                change = scale * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
                module.weight += change.T if isinstance(module, Conv1D) else change
    return base


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("alpha", [None, 1])
def test_an_adapter_is_a_change_of_the_weights(family: str, alpha: int | None, tmp_path: Path) -> None:
    """By hand, in float64; α is twice the rank unless told otherwise. Llama's kin normalise in float32."""
    policy = adapted(tmp_path, family, Lora(2, alpha))
    policy.model.double()
    stirred(policy)
    plain = load_policy(tmp_path)
    plain.model.double()
    before = plain.logprobs(BATCH)
    expected = dense(policy, plain).logprobs(BATCH)
    torch.testing.assert_close(policy.logprobs(BATCH), expected, rtol=0, atol=1e-6)
    assert (expected - before).abs().max() > 0.01
    assert policy.adapter.peft_config["default"].lora_alpha == (alpha or 4)


def test_the_gradient_is_that_of_the_dense_weights(tmp_path: Path) -> None:
    """With G of W + s·B A for the loss: ∂B = s·G Aᵀ and ∂A = s·Bᵀ G, for a Linear and for GPT-2's transposed one."""
    for family, layer in (("llama", "model.layers.1.mlp.down_proj"), ("gpt2", "transformer.h.1.mlp.c_proj")):
        policy = adapted(tmp_path / family, family, Lora(2, 5))
        policy.model.double()
        stirred(policy)
        plain = load_policy(tmp_path / family)
        plain.model.double()
        dense(policy, plain).logprobs(BATCH).sum().backward()
        policy.logprobs(BATCH).sum().backward()
        weight: Any = plain.model.get_submodule(layer).weight
        slope = weight.grad.T if family == "gpt2" else weight.grad
        module: Any = policy.model.get_submodule(layer)
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        torch.testing.assert_close(b.grad, 2.5 * slope @ a.T, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.grad, 2.5 * b.T @ slope, rtol=1e-5, atol=1e-6)
        assert module.base_layer.weight.grad is None


def test_an_adapter_is_a_function_of_its_seed_and_takes_no_other_random_number(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, again, other = (adapted(tmp_path, seed=seed).parameters() for seed in (7, 7, 8))
    assert torch.equal(torch.rand(1), expected)
    drawn = [name for name in one if ".lora_A." in name]
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in drawn)
    assert all(one[name].std() > 0.01 for name in drawn)


def test_layers_are_those_named(tmp_path: Path) -> None:
    """A name's last part means every layer of that name; more of it means fewer."""
    some = adapted(tmp_path, lora=Lora(2, targets="attn.c_attn, c_fc")).parameters()
    assert {name.split(".lora_")[0] for name in some} == {
        f"transformer.h.{block}.{layer}" for block in (0, 1) for layer in ("attn.c_attn", "mlp.c_fc")
    }
    one = adapted(tmp_path, lora=Lora(2, targets="h.1.attn.c_proj")).parameters()
    assert {name.split(".lora_")[0] for name in one} == {"transformer.h.1.attn.c_proj"}
    every = adapted(tmp_path, lora=Lora(2, targets="all-linear")).parameters()
    assert every.keys() == adapted(tmp_path).parameters().keys()


@pytest.mark.parametrize("family", ["gpt2", "qwen"])
@pytest.mark.parametrize("name", ["lm_head", "wte", "embed_tokens", "c_nothing", "attn", ","])
def test_a_layer_that_is_not_there_or_may_have_no_adapter_is_refused(family: str, name: str, tmp_path: Path) -> None:
    some = "c_attn, c_fc, c_proj" if family == "gpt2" else "down_proj, gate_proj"
    with pytest.raises(
        UserError, match=rf"lora_targets: the model has no linear layer named '.*{some}.* or all-linear"
    ):
        adapted(tmp_path, family, Lora(2, targets=name))


def test_what_an_adapter_reads_is_dropped_only_with_dropout_on(tmp_path: Path) -> None:
    policy = stirred(adapted(tmp_path, lora=Lora(4, dropout=0.5)))
    with torch.no_grad():
        calm = policy.logprobs(BATCH)
        assert torch.equal(policy.logprobs(BATCH), calm)
        policy.dropout(True)
        assert not torch.allclose(policy.logprobs(BATCH), calm)
        policy.dropout(False)
        assert torch.equal(policy.logprobs(BATCH), calm)


# Saved and loaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen"])
def test_a_saved_adapter_is_pefts(family: str, tmp_path: Path) -> None:
    policy = stirred(adapted(tmp_path / "base", family))
    policy.save(tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 8, "CAUSAL_LM")
    assert config["fan_in_fan_out"] == (family == "gpt2")
    assert config["target_modules"] == sorted(config["target_modules"])
    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, policy.model(IDS).logits)
    size = sum(tensor.numel() for tensor in load_file(tmp_path / "adapter" / "adapter_model.safetensors").values())
    assert size == sum(p.numel() for p in policy.parameters().values())


def test_a_saved_adapter_says_what_ends_its_texts(tmp_path: Path) -> None:
    """The base stops at EOS alone; the chat template, saved with the adapter, ends its answers with 6."""
    stirred(adapted(tmp_path / "base")).save(tmp_path / "adapter")
    assert GenerationConfig.from_pretrained(tmp_path / "adapter").eos_token_id == tiny.EOS
    tiny.make_chat_tokenizer().save_pretrained(tmp_path / "adapter")
    loaded = load_policy(tmp_path / "adapter", lora=Lora(4))
    loaded.save(tmp_path / "again")
    assert GenerationConfig.from_pretrained(tmp_path / "again").eos_token_id == [tiny.EOS, 6]
    assert loaded.ends.ids == (tiny.EOS, 6)


def test_the_base_is_named_by_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.save_model(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    load_policy("base", lora=Lora(2)).save(Path("adapter"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert base_of(tmp_path / "adapter") == str(tmp_path / "base")
    assert load_policy("../adapter").adapter is None


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen", "opt"])
def test_without_lora_an_adapter_becomes_part_of_the_weights(family: str, tmp_path: Path) -> None:
    """All of which can be trained, under the names that they have in the base."""
    policy = stirred(adapted(tmp_path / "base", family))
    policy.save(tmp_path / "adapter")
    loaded, base = load_policy(tmp_path / "adapter"), load_policy(tmp_path / "base")
    assert loaded.adapter is None
    assert loaded.parameters().keys() == base.parameters().keys()
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(IDS).logits, policy.model(IDS).logits, rtol=0, atol=1e-5)
        assert (base.model(IDS).logits - policy.model(IDS).logits).abs().max() > 0.1
    loaded.logprobs(BATCH).sum().backward()
    assert all(p.grad is not None for p in loaded.parameters().values())


def test_an_adapter_is_trained_further_from_where_it_was(saved: Path, tmp_path: Path) -> None:
    """To the bit, also saved again; with the dropout that this run asks for."""
    before = load_file(saved / "adapter_model.safetensors")
    again = load_policy(saved, lora=Lora(4, dropout=0.25))
    assert len(again.parameters()) == len(before)
    assert again.adapter.peft_config["default"].lora_dropout == 0.25
    again.save(tmp_path / "again")
    after = load_file(tmp_path / "again" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert base_of(tmp_path / "again") == str(tmp_path / "base")
    assert own_lora(saved, 0.5) == Lora(4, 8, 0.5)


def test_another_rank_alpha_or_targets_than_the_adapters_are_refused(saved: Path) -> None:
    for lora, said in (
        (Lora(8), "is an adapter with rank 4: set lora_rank 4 to train it further, or merge it into a plain model"),
        (Lora(4, 4), "is an adapter with alpha 8: set lora_alpha 8"),
        (Lora(4, targets="c_attn"), "leave lora_targets out"),
    ):
        with pytest.raises(UserError, match=said):
            load_policy(saved, lora=lora)
    assert load_policy(saved, lora=Lora(4, 8)).adapter is not None


def test_a_tokenizer_lies_beside_the_adapter_or_with_the_base(saved: Path, tmp_path: Path) -> None:
    assert source_of(saved).tokenizer == str(saved)
    for path in saved.glob("*token*"):
        path.unlink()
    assert source_of(saved).tokenizer == str(tmp_path / "base")
    assert load_policy(saved).tokenizer("good film")["input_ids"] == [0, 3, 5]


def test_a_plain_folder_is_its_own_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.save_model(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    assert source_of("base") == adapters.AdapterSource(str(tmp_path / "base"))
    assert source_of("no/such-model-anywhere") == adapters.AdapterSource("no/such-model-anywhere")
    assert not is_adapter(tmp_path / "base")


def test_the_embedded_model_is_found_wherever_the_package_is(saved: Path) -> None:
    elsewhere = "/another/place/site-packages/burnish/assets/film"
    found = base_of(edit(saved, base_model_name_or_path=elsewhere))
    assert found != elsewhere
    assert (Path(found) / "model.safetensors").exists()


def test_the_chat_model_is_found_wherever_the_cache_is(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "smollm2-0.1.2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    checksum = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}", by sha256sum
    (folder / "checksums.json").write_text(f'{{"config.json": "{checksum}"}}')
    assert base_of(edit(saved, base_model_name_or_path="/another/cache/smollm2-0.1.2")) == str(folder)


def test_a_base_by_name_stays_a_name(saved: Path) -> None:
    assert base_of(edit(saved, base_model_name_or_path="somebody/some-model")) == "somebody/some-model"


# What is wrong -----------------------------------------------------------------------------------------------------


def test_a_base_that_is_gone_is_named(saved: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "base", tmp_path / "moved")
    with pytest.raises(UserError, match=r"was trained on .*base, which no longer exists: restore it, or write"):
        load_policy(saved)
    assert load_policy(edit(saved, base_model_name_or_path=str(tmp_path / "moved")))
    with pytest.raises(UserError, match="does not name the adapter's base model: add base_model_name_or_path to it"):
        load_policy(edit(saved, base_model_name_or_path=None))


def test_an_adapter_of_another_kind_is_refused(saved: Path) -> None:
    with pytest.raises(UserError, match="is an adapter of type LOHA: only LoRA is supported"):
        load_policy(edit(saved, peft_type="LOHA"))


def test_an_adapter_without_its_weights_is_refused(saved: Path) -> None:
    """Nothing is unpickled, so peft's old format counts as none."""
    os.rename(saved / "adapter_model.safetensors", saved / "adapter_model.bin")
    with pytest.raises(UserError, match=r"is an adapter without adapter_model\.safetensors"):
        load_policy(saved)


def test_an_adapter_with_other_weights_than_it_tells_of_is_refused(saved: Path) -> None:
    """peft would warn, and go on with what it has."""
    file = saved / "adapter_model.safetensors"
    whole = load_file(file)
    first = min(whole)
    save_file({name: tensor for name, tensor in whole.items() if name != first}, file)
    with pytest.raises(UserError, match=f"as a language model: it has no {first}"):
        load_policy(saved)
    save_file(whole | {"base_model.model.zebra": torch.ones(1)}, file)
    with pytest.raises(UserError, match=r"it has an unknown base_model\.model\.zebra"):
        load_policy(saved)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="could not be loaded"):
        load_policy(saved)


def test_an_adapter_of_another_model_is_refused(saved: Path, tmp_path: Path) -> None:
    wide = tiny.save_model(tmp_path / "wide", "gpt2", n_embd=32)
    with pytest.raises(UserError, match="could not be loaded"):
        load_policy(edit(saved, base_model_name_or_path=str(wide)))
    llama = tiny.save_model(tmp_path / "llama", "llama")
    with pytest.raises(UserError):
        load_policy(edit(saved, base_model_name_or_path=str(llama)))


# Reward models -----------------------------------------------------------------------------------------------------


def test_the_kind_of_an_adapter_is_told(saved: Path, tmp_path: Path) -> None:
    scorer = load_scorer(tmp_path / "base", lora=Lora(4))
    scorer.save(tmp_path / "scorer")
    assert is_scorer_adapter(tmp_path / "scorer")
    assert not is_scorer_adapter(saved)
    assert not is_scorer_adapter(tmp_path / "base")
    make_scorer(double=False).save(tmp_path / "plain")
    assert not is_scorer_adapter(tmp_path / "plain")
    with pytest.raises(UserError, match=r"as a language model: it has an unknown base_model\.model\.score\.weight"):
        load_policy(tmp_path / "scorer")


def test_the_arithmetic_is_told_apart_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    """Another α is another arithmetic; another place, or being trained further, is not."""
    shutil.copytree(tmp_path / "base", tmp_path / "copy")
    shutil.copytree(saved, tmp_path / "other")
    edit(tmp_path / "other", base_model_name_or_path=str(tmp_path / "copy"))
    told = {arithmetic(load_policy(place, lora=Lora(4)).adapter) for place in (saved, tmp_path / "other")}
    assert len(told) == 1
    edit(saved, lora_alpha=9)
    told.add(arithmetic(load_policy(saved, lora=Lora(4)).adapter))
    assert len(told) == 2


@pytest.mark.parametrize("key", ["r", "lora_alpha"])
def test_an_adapter_without_its_rank_is_refused(key: str, tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "base")
    load_policy(tmp_path / "base", lora=Lora(3)).save(tmp_path / "adapter")
    assert own_lora(tmp_path / "adapter") == Lora(3, 6)
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: None}))
    with pytest.raises(UserError, match="must give r and lora_alpha as whole numbers"):
        own_lora(tmp_path / "adapter")
