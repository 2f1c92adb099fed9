"""Gradient checkpointing: a layer keeps its input alone, and is computed again in the backward pass.

Chen et al. (2016), "Training Deep Nets with Sublinear Memory Cost".

Differs from transformers' `gradient_checkpointing_enable`, which works in train mode only, where dropout is on: here it
works in either mode, wherever there is a gradient. Loss and gradient are those without it, to the same bits: random
numbers are drawn again as they were.
"""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from burnish.run import UserError


def recompute_layers(model: PreTrainedModel) -> None:
    """Compute the model's layers again in the backward pass, rather than keep what they computed.

    Raises UserError for a family of which transformers does not say which layers can be computed again.
    """
    layers = outermost(model)
    if not layers:
        config = model.config
        raise UserError(
            f"{config.name_or_path} ({config.model_type}) has no layers that gradient_checkpointing applies to: leave "
            "it out, and raise accumulate or lower max_length to save memory"
        )
    for layer in layers:
        layer.forward = recomputed(layer.forward)


def outermost(module: nn.Module) -> list[Any]:
    """The layers that transformers can checkpoint, without those inside others."""
    if isinstance(module, GradientCheckpointingLayer):
        return [module]
    return [layer for child in module.children() for layer in outermost(child)]


def recomputed(forward: Any) -> Any:
    """A layer's `forward` that is computed twice where there is a gradient."""

    def twice(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return twice
