"""Weights that are handed over: complete, exact, and refused where they do not fit."""

import os
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import save_file

from burnish.policies.interface import SamplerError
from burnish.policies.language.adapters import Lora
from burnish.policies.language.handed import (
    WEIGHTS,
    fitted,
    load_weights,
    read_weights,
    tensors_of,
    weights_of,
    weights_sha256,
    write_weights,
)
from burnish.policies.language.policy import load_policy
from burnish.policies.language.reference import hash_tensors
from burnish.run import UserError


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_what_is_handed_over_makes_the_same_model(family: str, tmp_path: Path) -> None:
    one, other = (tiny.make_policy(family, seed, double=False) for seed in (0, 1))
    sent = weights_of(one, torch.float32)
    write_weights(tmp_path / "w", sent, "digest")
    assert [path.name for path in (tmp_path / "w").iterdir()] == [WEIGHTS]
    load_weights(other.model, fitted(other.model, read_weights(tmp_path / "w")))
    assert weights_sha256(other.model) == weights_sha256(one.model) == hash_tensors(sent)
    ids = torch.tensor([[0, 5, 6, 7]])
    assert torch.equal(one.model(ids).logits, other.model(ids).logits)


def test_a_tied_weight_is_sent_once() -> None:
    tied, untied = tiny.make_model("llama", tie_word_embeddings=True), tiny.make_model("untied_llama")
    assert "lm_head.weight" not in tensors_of(tied)
    assert "lm_head.weight" in tensors_of(untied)
    assert fitted(tied, tied.state_dict()).keys() == tensors_of(tied).keys()  # under each of its names is fine too


def test_the_checksum_is_of_every_bit() -> None:
    model = tiny.make_model("llama")
    before = weights_sha256(model)
    with torch.no_grad():
        model.model.norm.weight[3] = torch.nextafter(model.model.norm.weight[3], torch.tensor(9.0))
    assert weights_sha256(model) != before


def test_a_sampler_of_fewer_bits_gets_fewer() -> None:
    policy = tiny.make_policy("llama", double=False)
    sent = weights_of(policy, torch.bfloat16, {"model.norm.weight": torch.float32})
    assert {name for name, t in sent.items() if t.dtype == torch.float32} == {"model.norm.weight"}
    kept = tensors_of(policy.model)
    assert all(torch.equal(sent[name], kept[name].to(sent[name].dtype)) for name in kept)


def test_an_adapter_is_merged(tmp_path: Path) -> None:
    """W + (α/r)·B A, here with α/r = 2 by hand; nothing of peft's is sent."""
    tiny.save_model(tmp_path / "base", "untied_llama")
    policy = load_policy(tmp_path / "base", lora=Lora(3, None, 0.0, None))
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(0.1)
    sent, plain = weights_of(policy, torch.float32), tiny.make_model("untied_llama")
    assert sent.keys() == tensors_of(plain).keys()
    name = "model.layers.1.self_attn.v_proj"
    own = policy.model.state_dict()
    a, b = (own[f"{name}.lora_{side}.default.weight"] for side in "AB")
    assert torch.allclose(sent[f"{name}.weight"], own[f"{name}.base_layer.weight"] + 2 * b @ a, atol=1e-6)
    assert torch.equal(sent["lm_head.weight"], own["lm_head.weight"])


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model, other = tiny.make_model("llama"), tiny.make_model("llama", seed=1)
    before = weights_sha256(model)
    wanted = tensors_of(other)
    lacking = {name: t for name, t in wanted.items() if "norm" not in name}
    with pytest.raises(UserError, match=r"of another model: the folder lacks model\.layers\.0\.input_layernorm"):
        fitted(model, lacking)
    with pytest.raises(UserError, match="has an unknown more"):
        fitted(model, wanted | {"more": torch.zeros(1)})
    with pytest.raises(UserError, match=r"model\.norm\.weight has the shape \[15\] and not \[16\]"):
        fitted(model, wanted | {"model.norm.weight": torch.zeros(15)})
    assert weights_sha256(model) == before


def test_a_place_where_nothing_can_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SamplerError, match=r"cannot be written to .*file/w .*: make room"):
        write_weights(tmp_path / "file" / "w", {"a": torch.ones(1)}, "digest")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="has no weights: give a folder with safetensors files"):
            read_weights(folder)
    save_file({"a": torch.ones(4)}, tmp_path / "a.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "b.safetensors")
    assert read_weights(tmp_path).keys() == {"a", "b"}
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes()[:-3])
    with pytest.raises(UserError, match=r"b\.safetensors cannot be read"):
        read_weights(tmp_path)
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\): give a folder"):
        read_weights(tmp_path / ("a" * 300))
    os.mkfifo(tmp_path / "c.safetensors")
    with pytest.raises(UserError, match=r"c\.safetensors is a .*, not a file"):
        read_weights(tmp_path)
