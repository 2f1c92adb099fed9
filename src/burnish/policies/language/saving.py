"""A model whose weights are divided among processes, written as `save_pretrained` writes it.

Each process writes its part of the weights with PyTorch's distributed checkpoints (DCP), and the main one then copies
the parts, tensor by tensor, into the files that transformers reads: nobody holds all of them.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import WeightConverter, revert_weight_conversion
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from burnish.functional.rounding import as_saved
from burnish.policies.language.dtypes import keeps
from burnish.run.shards import divided_like, gathered, write
from burnish.run.world import World

LARGEST = "50GB"
"""The size of a file, as `save_pretrained` has it."""


@torch.no_grad()
def save_divided(
    model: PreTrainedModel, folder: Path, dtype: torch.dtype, files: torch.dtype | None, world: World
) -> None:
    """Write the weights in a dtype, and the configuration; all processes have to call this. The main process has made
    the folder.

    A model with Python code of its own, or whose weights have another form in its files, is gathered in the main
    process, and written by transformers.
    """
    state = dict(rounded(model, dtype, files))
    kept = model.config.dtype
    conversions = getattr(model, "_weight_conversions", None) or []
    try:
        if model.is_remote_code() or any(isinstance(one, WeightConverter) for one in conversions):
            whole = {name: tensor for name, one in state.items() if (tensor := of_main(one, world)) is not None}
            if world.is_main:
                model.save_pretrained(folder, state_dict=whole)
        else:
            save_parts(revert_weight_conversion(model, state), folder, world)
        if world.is_main:
            model.config.dtype = str(dtype).removeprefix("torch.")
            model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
            model.config.save_pretrained(folder)
            if model.can_generate():
                cast(Any, model).generation_config.save_pretrained(folder)
    finally:
        model.config.dtype = kept


def rounded(model: PreTrainedModel, dtype: torch.dtype, files: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
    """The weights as they are written, by name, each still divided; one of several that are tied. One is whole at a
    time: how it is rounded is a function of all of it."""
    wide, known = keeps(model, dtype), cast(Any, model)
    left_out = {*known.all_tied_weights_keys, *(known._keys_to_ignore_on_save or ())}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, tensor in model.state_dict().items():
        if name in left_out:
            continue
        if name not in parameters or not tensor.is_floating_point() or wide(name) or tensor.dtype == dtype:
            yield name, tensor
        else:
            yield name, divided_like(as_saved(gathered(tensor), dtype, files, name), tensor)


def of_main(tensor: Tensor, world: World) -> Tensor | None:
    """All of a tensor in the main process; None in the others."""
    whole = gathered(tensor)
    return whole if world.is_main else None


def save_parts(state: dict[str, Tensor], folder: Path, world: World) -> None:
    """Write tensors into the files that `save_pretrained` would write."""
    sizes = {name: torch.empty(one.shape, dtype=one.dtype, device="meta") for name, one in state.items()}
    split = split_torch_state_dict_into_shards(sizes, max_shard_size=LARGEST)
    places = {name: i for i, names in enumerate(split.filename_to_tensors.values(), 1) for name in names}
    parts = write(folder, state, places)
    if not world.is_main:
        return
    shutil.rmtree(parts)
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not split.is_sharded:
        index.unlink()
        (one,) = folder.glob("*.safetensors")
        one.rename(folder / SAFE_WEIGHTS_NAME)
        return
    numbers = {"total_parameters": sum(one.numel() for one in sizes.values())} | split.metadata
    found = json.loads(index.read_text(encoding="utf-8"))
    index.write_text(json.dumps(found | {"metadata": numbers}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
