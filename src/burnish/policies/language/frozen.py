"""Weights that are not trained, kept in 16 bits and computed with as before.

The matrices of a LoRA base, a reference or a reward model that only scores take the memory that they have in their
files. A product is in float32 where it was, with a copy of one layer's matrix at a time, or in bfloat16 under autocast,
which would round the same matrix: the numbers are those of the float32 weights, to the same bits.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from burnish.policies.language.contract import probes
from burnish.policies.language.parts import body
from burnish.policies.language.reader import TokenReader
from burnish.policies.language.reference import weights_hash

KINDS = (nn.Linear, Conv1D, nn.Embedding)


def freeze(reader: TokenReader, dtype: str) -> None:
    """Train none of the weights, and `keep_narrow`; those of another `--dtype` than the default have that already, and
    those that processes divide stay as they are."""
    reader.model.requires_grad_(False)
    if dtype == "float32" and not reader.divided:
        keep_narrow(reader)


def keep_narrow(reader: TokenReader) -> None:
    """Keep the matrices without a gradient in the dtype of the model's files, or in bfloat16 if it computes in that.

    Only what those bits hold exactly is changed. Where a family's own code reads a matrix, and the hidden states of a
    few tokens change or cannot be computed, all stays as it was.
    """
    owners: dict[nn.Parameter, list[Any]] = {}
    for module in reader.model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, []).append(module)
    before, was = hidden_states(reader), []
    reader.weights_sha256 = weights_hash(reader.model)
    for parameter, layers in owners.items():
        dtype = narrow_dtype(reader, parameter, layers)
        if dtype is not None:
            was.append((parameter, parameter.data, layers, [layer.forward for layer in layers]))
            for layer in layers:
                layer.forward = widened(layer, layer.forward, parameter.dtype)
            parameter.data = parameter.data.to(dtype)
    try:
        same = torch.equal(before, hidden_states(reader))
    except RuntimeError:  # float32 times bfloat16
        same = False
    if not same:
        for parameter, data, layers, forwards in was:
            parameter.data = data
            for layer, forward in zip(layers, forwards, strict=True):
                layer.forward = forward


def narrow_dtype(reader: TokenReader, parameter: nn.Parameter, layers: list[Any]) -> torch.dtype | None:
    """The dtype of fewer bits that gives the same numbers; None where there is none."""
    head = getattr(reader.model, "score", None)  # read in float32 whatever the precision
    if parameter.requires_grad or not all(type(layer) in KINDS and layer.weight is parameter for layer in layers):
        return None
    if head in layers or parameter.dtype != torch.float32:
        return None
    if reader.precision == "bfloat16" and not any(isinstance(layer, nn.Embedding) for layer in layers):
        return torch.bfloat16
    files = reader.files
    return files if files is not None and torch.equal(parameter.data.to(files).float(), parameter.data) else None


def widened(layer: nn.Module, forward: Any, dtype: torch.dtype) -> Any:
    """A layer's `forward` with the numbers that it has when its weight is of the wider `dtype`."""

    def embedded(ids: Tensor) -> Tensor:
        return forward(ids).to(dtype)

    def multiplied(x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            return forward(x)
        weight: Any = layer.weight
        return WideProduct.apply(x, weight.t() if isinstance(layer, Conv1D) else weight, layer.bias)

    return embedded if isinstance(layer, nn.Embedding) else multiplied


class WideProduct(torch.autograd.Function):
    """x Wᵀ + b in the dtype of x, with W in fewer bits: W is widened twice rather than kept wide in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return nn.functional.linear(x, weight.to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0].matmul(weight.to(gradients[0].dtype)), None, None


@torch.no_grad()
def hidden_states(reader: TokenReader) -> Tensor:
    """Last hidden states of a text of random tokens, with noise in place of adapters, which add nothing at first."""
    ids = torch.tensor([probes(reader.model)[0]], device=reader.device)
    adapters = [] if reader.adapter is None else list(reader.parameters().values())
    kept, random = [p.data for p in adapters], torch.Generator().manual_seed(0)
    try:
        for parameter in adapters:
            parameter.data = torch.randn(parameter.shape, generator=random).to(parameter)
        with reader.autocast():
            return body(reader.model)(input_ids=ids, use_cache=False).last_hidden_state
    finally:
        for parameter, data in zip(adapters, kept, strict=True):
            parameter.data = data
