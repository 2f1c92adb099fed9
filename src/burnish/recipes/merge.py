"""`burnish merge ADAPTER`: merge an adapter into its base model."""

from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.policies.language.adapters import is_scorer_adapter, source_of
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.models import loading_of
from burnish.recipes.train.prepare import prepare_torch
from burnish.run import UserError, save_folder_atomically, writable_file


def merge(adapter: str, out: Path, base: Settings) -> Path:
    """Write the merged model, W + (α/r)·B A in float32, and its tokenizer to `out`.

    `adapter` is a run folder, a folder in peft's format, or a name. The result is a plain transformers model without
    references to adapter or base. Raises UserError for anything that is not an adapter, and where `out` exists.
    """
    loading = loading_of(base)
    folder = source_of(resolve_model(adapter), loading).adapter
    if folder is None:
        raise UserError(f"{adapter} is not an adapter: give a run trained with lora_rank, or a folder saved by peft")
    if out.exists():
        raise UserError(f"{out} exists: choose another --out")
    writable_file(out)
    prepare_torch(base)
    loading = loading.elsewhere()
    if is_scorer_adapter(folder):
        model: Any = load_scorer(folder, option="the adapter", loading=loading)
    else:
        model = load_policy(folder, loading=loading)
    with save_folder_atomically(out) as new:
        model.save(new)
    return out
