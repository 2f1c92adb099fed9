"""Tests of `burnish.policies.language.activations`."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from burnish.policies.language.activations import fuse_gelu
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer


def by_hand(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_accurate"])
def test_the_kernel_computes_the_same_formula(name: str) -> None:
    """The formula with Python's numbers, at values on both sides of 0 and where tanh is ±1."""
    model = nn.Sequential(nn.Sequential(ACT2FN[name]), ACT2FN[name])
    fuse_gelu(model)
    kinds = {type(module) for module in model.modules()} - {nn.Sequential}
    assert kinds == {type(ACT2FN["gelu_pytorch_tanh"])}
    values = [-30.0, -2.5, -0.3, 0.0, 1e-4, 0.7, 3.0, 30.0]
    found = model[1](torch.tensor(values, dtype=torch.float64))
    assert found.tolist() == pytest.approx([by_hand(x) for x in values], rel=1e-12, abs=1e-12)


def test_other_activations_stay() -> None:
    names = ("gelu", "quick_gelu", "silu", "relu")
    model = nn.Sequential(*(ACT2FN[name] for name in names))
    fuse_gelu(model)
    assert [type(one) for one in model] == [type(ACT2FN[name]) for name in names]


@pytest.mark.parametrize("loads", [load_policy, load_scorer])
def test_a_loaded_model_differs_from_plain_transformers_by_rounding(loads: Any, tmp_path: Path) -> None:
    """Hidden states and the gradient of their squares, of GPT-2 as transformers computes it."""
    plain = tiny.make_model("gpt2").float()
    plain.save_pretrained(tmp_path / "model")
    tiny.make_tokenizer().save_pretrained(tmp_path / "model")
    model = loads(tmp_path / "model").model
    assert not any(isinstance(module, type(ACT2FN["gelu_new"])) for module in model.modules())
    assert model.config.activation_function == "gelu_new"

    def hidden(one: Any) -> tuple[Tensor, Tensor]:
        states = one.base_model(input_ids=torch.arange(3, 9)[None], use_cache=False).last_hidden_state
        states.square().sum().backward()
        return states, one.base_model.h[0].mlp.c_fc.weight.grad

    for found, expected in zip(hidden(model), hidden(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
