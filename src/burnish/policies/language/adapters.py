"""LoRA: small matrices beside the linear layers of a model whose own weights stay as they are.

    y = W x  becomes  y = W x + (α/r)·B A x,   A [r, in] random, B [out, r] zero at first

so that an adapted model begins as its base, bit for bit. peft puts them in place: the model keeps its class and its
forward pass, only its linear layers are others.

Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
Differs: every linear layer but the head has an adapter unless told otherwise, as in Dettmers et al. (2023), "QLoRA",
section 4; and α is twice the rank unless told otherwise, so that a change of rank leaves the scale α/r alone.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils.peft_utils import find_adapter_config_file

from burnish.run import UserError, read_mapping

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
POLICY, SCORER = "CAUSAL_LM", "SEQ_CLS"
"""What peft calls a language model, and a model with a head of one label."""
HEAD = "base_model.model.score."
ALL_LINEAR = "all-linear"
EMBEDDED = ("burnish", "assets", "film")


@dataclass(frozen=True)
class Lora:
    """Adapters of a rank. `alpha` None is twice the rank, `targets` None every linear layer: else names with commas."""

    rank: int
    alpha: int | None = None
    dropout: float = 0.0
    targets: str | None = None


@dataclass(frozen=True)
class AdapterSource:
    """Where a model comes from: the name or folder of its base, and the folder of an adapter over it, if any."""

    base: str
    adapter: Path | None = None

    @property
    def tokenizer(self) -> str:
        """Beside the adapter where it was saved there, else with the base."""
        own = self.adapter is not None and (self.adapter / "tokenizer_config.json").exists()
        return str(self.adapter) if own else self.base


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds an adapter rather than a whole model."""
    return (Path(folder) / CONFIG).exists()


def source_of(name: str | Path) -> AdapterSource:
    """What to load for a name: itself, or an adapter and the base that it was trained on.

    Raises UserError where an adapter's base is not there.
    """
    if not Path(name).is_dir():
        found = None
        with contextlib.suppress(OSError):  # which loading the model will tell of
            found = find_adapter_config_file(str(name))
        if found is None:
            return AdapterSource(str(name))
        from huggingface_hub import snapshot_download

        name = snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"])
    folder = Path(name)
    if not is_adapter(folder):
        return AdapterSource(os.path.abspath(folder))
    return AdapterSource(base_of(folder), folder)


def base_of(folder: Path) -> str:
    """The base that an adapter was trained on, a folder as an absolute path.

    The embedded model is found wherever the package is now. Raises UserError where there is no such folder any more.
    """
    base = str(read_mapping(folder / CONFIG).get("base_model_name_or_path") or "")
    if not base:
        raise UserError(f"{folder / CONFIG} does not name the model that the adapter was trained on: write it there")
    if Path(base).is_dir():
        return os.path.abspath(base)
    if Path(base).parts[-3:] == EMBEDDED:
        return str(files("burnish").joinpath(*EMBEDDED[1:]))
    if Path(base).is_absolute():
        raise UserError(
            f"the adapter {folder} was trained on {base}, which is not there any more: put it back, or write in "
            f"{CONFIG} where it is now"
        )
    return base


def is_scorer_adapter(folder: str | Path) -> bool:
    """Whether a folder holds an adapter that gives a text one score."""
    return is_adapter(folder) and read_mapping(Path(folder) / CONFIG).get("task_type") == SCORER


def own_lora(folder: Path, dropout: float = 0.0) -> Lora:
    """What an adapter was made with, to train it further."""
    config = read_mapping(folder / CONFIG)
    return Lora(int(config["r"]), int(config["lora_alpha"]), dropout)


def with_adapter(
    model: PreTrainedModel, source: AdapterSource, lora: Lora | None, task: str, seed: int = 0, option: str = "--model"
) -> tuple[PreTrainedModel, Any]:
    """A base's model as it is to be used, and peft's hold on its adapter, None where all weights are its own.

    Without `lora` an adapter becomes part of the weights. With it, a plain model gets a new adapter, drawn with `seed`,
    and one that is there is trained further. Raises UserError where it is not one of that rank.
    """
    if source.adapter is None:
        return (model, None) if lora is None else (model, attach(model, source.base, lora, task, seed))
    adapter = read(model, source, lora, task, option)
    return (model, adapter) if lora is not None else (merged(adapter), None)


def merged(adapter: Any) -> PreTrainedModel:
    """The model with its adapter as part of the weights, W + (α/r)·B A, all of which can be trained again."""
    return adapter.merge_and_unload().requires_grad_(True)


def attach(model: PreTrainedModel, base: str, lora: Lora, task: str, seed: int) -> Any:
    """A new adapter in `model`, whose own weights are frozen; a reward model's head is trained beside it."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank if lora.alpha is None else lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=target_names(model, lora.targets or ALL_LINEAR),
        task_type=task,
    )
    with reproducible(seed):
        adapter = get_peft_model(model, config)
    adapter.peft_config["default"].base_model_name_or_path = base
    return adapter


def read(model: PreTrainedModel, source: AdapterSource, lora: Lora | None, task: str, option: str) -> Any:
    """The adapter of `source` in `model`. A policy's adapter may serve a reward model, which then has a new head.

    Raises UserError where it is none of LoRA, not of the rank asked for, or not one of this model.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    folder = source.adapter
    assert folder is not None
    check(folder, lora, option)
    config = LoraConfig.from_pretrained(str(folder))
    new_head = task == SCORER and config.task_type != SCORER
    config.task_type = task
    config.base_model_name_or_path = source.base
    config.inference_mode = False  # as it is saved, which would freeze it
    config.lora_dropout = 0.0 if lora is None else lora.dropout
    with reproducible(0):
        adapter = get_peft_model(model, config)
    wanted, found = get_peft_model_state_dict(adapter, save_embedding_layers=False), load_file(folder / WEIGHTS)
    if new_head:
        found |= {key: tensor for key, tensor in wanted.items() if key.startswith(HEAD)}
    if found.keys() != wanted.keys():
        lacks, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
        problem = f"lacks {min(lacks)}" if lacks else f"has {min(more)}, which is not of it"
        kind = "a reward model" if task == SCORER else "a language model"
        raise UserError(f"{option} {folder} is no LoRA adapter of {source.base} as {kind}: it {problem}")
    set_peft_model_state_dict(adapter, found)
    return adapter


def check(folder: Path, lora: Lora | None, option: str) -> None:
    """Raise UserError for an adapter that is damaged, of another kind than LoRA, or not the one that `lora` is of."""
    config = read_mapping(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise UserError(
            f"{option} {folder} is an adapter of kind {config.get('peft_type')}: only LoRA's are known here"
        )
    if not (folder / WEIGHTS).exists():
        raise UserError(f"{option} {folder} is an adapter without its {WEIGHTS}: save it there")
    if lora is None:
        return
    merge = "or make a plain model of it with `burnish merge` and begin another adapter"
    for name, asked, own in (("rank", lora.rank, config["r"]), ("alpha", lora.alpha, config["lora_alpha"])):
        if asked not in (None, own):
            raise UserError(
                f"{option} {folder} is an adapter of {name} {own}: give lora_{name} {own} to train it further, {merge}"
            )
    if lora.targets is not None:
        raise UserError(f"{option} {folder} is an adapter, which has its layers: leave lora_targets out, {merge}")


def target_names(model: PreTrainedModel, named: str) -> list[str]:
    """The layers to adapt, as peft takes them: the last parts of their names where those are enough to tell them.

    Embeddings and heads are never among them: an embedding that is its model's head as well could not be merged.
    Raises UserError for a name that no linear layer has.
    """
    heads = {id(model.get_output_embeddings()), id(getattr(model, "score", None))}
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    inner = [name for name, module in linear.items() if id(module) not in heads]
    outer = {name.rsplit(".", 1)[-1] for name in linear.keys() - set(inner)}
    short = sorted({name.rsplit(".", 1)[-1] for name in inner})
    if named == ALL_LINEAR:
        return short if not outer & set(short) else inner
    asked = [name.strip() for name in named.split(",") if name.strip()]
    for target in asked or [""]:
        if not any(name == target or name.endswith(f".{target}") for name in inner):
            raise UserError(
                f"lora_targets: the model has no linear layer named '{target}': give some of {', '.join(short)}, or "
                f"{ALL_LINEAR}"
            )
    return asked


def save(adapter: Any, folder: Path) -> None:
    """Write the adapter as peft does, without the card that peft would put there for somebody to fill in."""
    config = adapter.peft_config["default"]
    config.target_modules = sorted(config.target_modules)  # a set, which each process would write in another order
    if config.modules_to_save is not None:
        config.modules_to_save = sorted(set(config.modules_to_save))
    card = folder / "README.md"
    kept = card.read_bytes() if card.exists() else None
    adapter.save_pretrained(str(folder), save_embedding_layers=False)
    card.unlink(missing_ok=True) if kept is None else card.write_bytes(kept)


def arithmetic(adapter: Any) -> str:
    """What an adapter's configuration says of its arithmetic: all but where it came from and whether it is trained."""
    config = adapter.peft_config["default"].to_dict()
    apart = ("base_model_name_or_path", "inference_mode", "task_type", "revision")
    content = {key: sorted(v) if isinstance(v, set | list) else v for key, v in config.items() if key not in apart}
    return json.dumps(content, sort_keys=True, default=str)


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Random numbers of `seed`, and none of the run's; and no warning of what peft makes of a model."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield
