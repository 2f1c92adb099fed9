"""PyTorch's own function for `gelu_new`: the same numbers and gradients, the same files."""

import tiny
import torch
from transformers.activations import ACT2FN, GELUTanh, NewGELUActivation

from burnish.policies.language.activations import fuse_activations


def test_a_model_gives_the_same_numbers_and_gradients() -> None:
    model, fused = tiny.make_model("gpt2").double(), tiny.make_model("gpt2").double()
    fuse_activations(fused)
    assert not any(isinstance(module, NewGELUActivation) for module in fused.modules())
    assert sum(isinstance(module, GELUTanh) for module in fused.modules()) == 2  # one per layer
    ids = torch.arange(12)[None]
    for one in (model, fused):
        one(input_ids=ids).logits.square().sum().backward()
    torch.testing.assert_close(fused(input_ids=ids).logits, model(input_ids=ids).logits, rtol=0, atol=1e-12)
    for (name, p), (other, q) in zip(model.named_parameters(), fused.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-10, atol=1e-10)
    assert fused.config.to_dict() == model.config.to_dict()


def test_another_activation_stays() -> None:
    model = tiny.make_model("gpt2", activation_function="gelu")
    fuse_activations(model)
    assert type(model.transformer.h[0].mlp.act) is type(ACT2FN["gelu"])
