"""The dtype that a model's weights have in its files, and in which they are written again."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from burnish.functional.rounding import as_saved

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

NAMES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""safetensors' names of the dtypes that weights are kept in."""


def dtype_of_files(name: str, config: PreTrainedConfig) -> torch.dtype | None:
    """The dtype that a configuration names, or else `dtype_in` the folder; None where it is unknown."""
    for said in (config.dtype, config.get_text_config().dtype):
        if isinstance(said, torch.dtype) and said in NAMES.values():
            return said
    return dtype_in(Path(name))


def dtype_in(folder: Path) -> torch.dtype | None:
    """The dtype of the first weight in a folder's safetensors; None where there is none."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found = [NAMES[kind] for key in file.keys() if (kind := file.get_slice(key).get_dtype()) in NAMES]  # noqa: SIM118
        if found:
            return found[0]
    return None


def without_fractions(folder: Path) -> tuple[str, str] | None:
    """The first weight that a folder's safetensors hold as integers or complex numbers, and the dtype there; None if
    there is none. transformers would round them without a word. Buffers, which are no weights, may be integers."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in sorted(file.keys()):
                kind = str(file.get_slice(key).get_dtype())
                if kind.startswith("C") or (key.endswith(".weight") and not kind.startswith(("F", "BF"))):
                    return key, kind
    return None


def dtype_to_save(model: PreTrainedModel, asked: Dtype, files: torch.dtype | None) -> torch.dtype:
    """The dtype that is asked for; "auto" is that of the `files` that the model came from, or its own if that has
    fewer bits."""
    if asked != "auto":
        return getattr(torch, asked)
    own = model.dtype
    return own if files is None or own.itemsize <= files.itemsize else files


def keeps(model: PreTrainedModel, dtype: torch.dtype) -> Callable[[str], bool]:
    """Whether the family keeps the weight of a name in float32 when a model is written in a dtype."""
    kept = model._get_dtype_plan(dtype)
    return lambda name: any(re.search(rf"(^|\.){part}(\.|$)", name) for part in kept)


@contextmanager
def written_in(
    model: PreTrainedModel, parameters: dict[str, Any], dtype: torch.dtype, files: torch.dtype | None
) -> Iterator[None]:
    """Parameters in another dtype inside, except those that the family keeps in float32; after it all is as before.

    How they are rounded depends on the dtype of the `files` that they came from: see `as_saved`. Parameters that are
    tied stay tied.
    """
    wide_too, config = keeps(model, dtype), model.config.dtype
    wide = {name: p.data for name, p in parameters.items()}
    try:
        for name, parameter in parameters.items():
            if parameter.is_floating_point() and not wide_too(name):
                parameter.data = as_saved(parameter.data, dtype, files, name)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = wide[name]
        model.config.dtype = config
