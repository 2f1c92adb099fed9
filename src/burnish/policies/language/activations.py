"""Activations that transformers computes with several elementwise operations, where PyTorch has one for them."""

from transformers import PreTrainedModel
from transformers.activations import GELUTanh, NewGELUActivation


def fuse_activations(model: PreTrainedModel) -> None:
    """Replace `gelu_new` by PyTorch's own function, which is the same up to rounding.

        gelu(x) = x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))

    It takes eight passes over the largest tensor of a layer, and keeps as many for the backward pass. Neither the
    configuration nor what is saved changes.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is NewGELUActivation:
                setattr(module, name, GELUTanh())
