"""Frozen matrices in 16 bits, against the same model with all its weights in float32: the same bits."""

from pathlib import Path
from typing import Any

import families
import pytest
import tiny
import tiny_mixtures
import torch
from tiny_scorers import make_scorer
from torch import nn
from transformers import PreTrainedModel

from burnish.policies.language.adapters import Lora
from burnish.policies.language.fingerprint import fingerprint
from burnish.policies.language.frozen import keep_narrow
from burnish.policies.language.policy import load_policy
from burnish.policies.language.recompute import recompute_layers
from burnish.policies.language.scorer import load_scorer

BATCH = tiny.demonstrations(tiny.random_rows(5, seed=3))
HALF = torch.bfloat16


def saved(folder: Path, model: PreTrainedModel, dtype: torch.dtype = HALF) -> Path:
    model.to(dtype).save_pretrained(folder)
    tiny.make_tokenizer().save_pretrained(folder)
    return folder


def numbers(reader: Any, name: str = "logprobs") -> list[torch.Tensor]:
    """The reader's numbers, and the gradients of what is trained, from B that is not 0."""
    torch.manual_seed(1)
    for parameter in reader.parameters().values():
        nn.init.normal_(parameter, std=0.3)
    found = getattr(reader, name)(BATCH)
    if not found.requires_grad:
        return [found]
    return [
        found.detach(),
        *torch.autograd.grad(found.square().sum(), list(reader.parameters().values()), materialize_grads=True),
    ]


def check_same(one: Any, other: Any, name: str = "logprobs") -> None:
    for a, b in zip(numbers(one, name), numbers(other, name), strict=True):
        assert torch.equal(a, b)


def wide(model: Any) -> set[str]:
    """The kinds of the matrices that are frozen in float32."""
    return {
        type(module).__name__
        for module in model.model.modules()
        for p in module.parameters(recurse=False)
        if p.dtype == torch.float32 and p.dim() == 2 and not p.requires_grad
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_a_base_takes_the_memory_of_its_files(family: str, precision: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", tiny.make_model(family))
    one, other = (load_policy(folder, precision=precision, lora=Lora(2)) for _ in range(2))
    known = fingerprint(other)
    keep_narrow(other)
    assert fingerprint(other) == known
    check_same(one, other)
    assert wide(one)
    assert len(wide(other)) == 2 * (family == "gemma2")  # its embedding, which scales, and the head tied to it
    assert {p.dtype for p in other.parameters().values()} == {torch.float32}
    recompute_layers(other.model)
    check_same(one, other)


@pytest.mark.parametrize("family", ["mixtral", "olmoe", "deepseek_v3", "gpt_oss"])
def test_a_mixture_has_the_same_numbers(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", tiny_mixtures.make_mixture(family))
    one, other = (load_policy(folder, lora=Lora(2)) for _ in range(2))
    keep_narrow(other)
    check_same(one, other)
    assert ("Linear" in wide(other)) == (family == "deepseek_v3")  # peft computes in the base's dtype there


@pytest.mark.parametrize("family", ["mamba", "bamba", "bloom", "phi3", "llama4_text", "modernbert-decoder"])
def test_a_family_of_its_own_kind_has_the_same_numbers(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", families.make_model(family))
    one, other = (load_policy(folder) for _ in range(2))
    other.model.requires_grad_(False)
    one.model.requires_grad_(False)
    keep_narrow(other)
    check_same(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_reward_model_that_only_scores(precision: str, tmp_path: Path) -> None:
    make_scorer("llama", double=False).save(tmp_path / "m", "bfloat16")
    one, other = (load_scorer(tmp_path / "m", precision=precision) for _ in range(2))
    for scorer in (one, other):
        scorer.model.requires_grad_(False)
    keep_narrow(other)
    check_same(one, other, "scores")
    assert wide(other) == {"Linear"}  # the head


def test_weights_of_more_bits_stay(tmp_path: Path) -> None:
    """Also where the configuration says that they have fewer. Under autocast they would be rounded anyway."""
    folder = saved(tmp_path / "m", tiny.make_model("llama"), torch.float32)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"float32"', '"bfloat16"'))
    one, other = (load_policy(folder, lora=Lora(2)) for _ in range(2))
    keep_narrow(other)
    assert wide(other) == wide(one)
    check_same(one, other)
    half, exact = (load_policy(folder, precision="bfloat16", lora=Lora(2)) for _ in range(2))
    keep_narrow(half)
    assert wide(half) == {"Embedding"}
    check_same(exact, half)


def test_what_is_trained_stays(tmp_path: Path) -> None:
    policy = load_policy(saved(tmp_path / "m", tiny.make_model("llama")))
    keep_narrow(policy)
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_a_family_that_reads_a_matrix_itself_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "m", tiny.make_model("llama"))
    one, other = (load_policy(folder, lora=Lora(2)) for _ in range(2))
    norm = other.model.base_model.norm
    layer = other.model.base_model.layers[0].mlp.down_proj
    norm.register_forward_hook(lambda module, inputs, output: output.to(layer.weight.dtype).float())
    keep_narrow(other)
    assert layer.weight.dtype == torch.float32
    check_same(one, other)
