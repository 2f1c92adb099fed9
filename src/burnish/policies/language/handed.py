"""Weights that a trainer hands over to a sampler elsewhere: which they are, how they are written, read and compared.

They are those of a plain model, under the names of its own parameters and saved buffers: an adapter is merged into its
base, and a tied weight has its first name alone.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from burnish.policies.interface import SamplerError
from burnish.policies.language.reader import TokenReader
from burnish.policies.language.reference import hash_tensors
from burnish.run import UserError, refuse_special

WEIGHTS = "weights.safetensors"
BASE = ".base_layer"
"""What peft adds to the name of a weight that has an adapter."""


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and saved buffers; a tied weight appears once."""
    names = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name in names}


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of the weights that a model has in memory now."""
    return hash_tensors(tensors_of(model))


@torch.no_grad()
def weights_of(
    policy: TokenReader, dtype: torch.dtype, others: Mapping[str, torch.dtype] = MappingProxyType({})
) -> dict[str, Tensor]:
    """A policy's weights as a sampler in `dtype` needs them, `others` apart, on the CPU and contiguous.

    An adapter is merged, W + (α/r)·B A, and the policy afterwards has the very bits that it had. Raises UserError for
    quantised weights.
    """
    model: PreTrainedModel = policy.model
    if getattr(model, "is_quantized", False):
        raise UserError("quantised weights cannot be handed over to a sampler: leave out load_in_4bit and load_in_8bit")
    if policy.adapter is None:
        return as_sent(tensors_of(model), dtype, others)
    bases = {name: p for name, p in model.named_parameters() if BASE in name}
    before = {name: p.data.clone() for name, p in bases.items()}
    narrow = {name: p.data for name, p in bases.items()}
    try:
        for p in bases.values():  # a base that is kept in 16 bits is merged in float32
            p.data = p.data.float() if p.dtype in (torch.bfloat16, torch.float16) else p.data
        policy.adapter.merge_adapter()
        own = {name: tensor for name, tensor in tensors_of(model).items() if ".lora_" not in name}
        return as_sent({name.replace(BASE, ""): tensor for name, tensor in own.items()}, dtype, others)
    finally:
        policy.adapter.unmerge_adapter()
        for name, p in bases.items():
            p.data = narrow[name]
            p.data.copy_(before[name])


def as_sent(tensors: Mapping[str, Tensor], dtype: torch.dtype, others: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """Copies on the CPU, those of floating-point numbers in `dtype`, or in the dtype that is named among `others`."""
    kinds = {name: others.get(name, dtype if t.is_floating_point() else t.dtype) for name, t in tensors.items()}
    return {name: t.to("cpu", kinds[name], copy=True).contiguous() for name, t in tensors.items()}


def write_weights(folder: Path, tensors: Mapping[str, Tensor], digest: str) -> Path:
    """Write the weights as safetensors, with their checksum, complete or not at all, in place of those before.

    Raises SamplerError where they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f"{WEIGHTS}.new"
        save_file(dict(tensors), beside, {"sha256": digest})
        beside.replace(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise SamplerError(f"the weights for the sampler cannot be written to {folder} ({error}): make room") from error
    return folder


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of all safetensors files in a folder. Raises UserError where there are none, or one cannot be
    read."""
    try:
        refuse_special(folder)  # a server that waits for a FIFO answers nobody
        files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): give a folder that this server can read"
        ) from error
    if not files:
        raise UserError(f"{folder} has no weights: give a folder with safetensors files that this server can read")
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= load_file(file)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{file} cannot be read ({error}): write it again") from error
    return found


def fitted(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as the model has them: one of each tied weight, in the model's dtypes, on the CPU.

    Raises UserError where a weight is missing, unknown, or of another shape.
    """
    own = tensors_of(model)
    aliases = model.state_dict().keys() - own.keys()
    if different := sorted(own.keys() ^ (tensors.keys() - aliases)):
        side = "lacks" if different[0] in own else "has an unknown"
        raise UserError(f"the weights are of another model: the folder {side} {different[0]}")
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            sizes = f"{list(tensors[name].shape)} and not {list(tensor.shape)}"
            raise UserError(f"the weights are of another model: {name} has the shape {sizes}")
    return {name: tensors[name].to(tensor.dtype) for name, tensor in own.items()}


@torch.no_grad()
def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `fitted` weights into a model."""
    for name, tensor in tensors_of(model).items():
        tensor.copy_(tensors[name])
