"""LoRA: low-rank adapters beside the linear layers of a model with frozen weights.

    y = W x  becomes  y = W x + (α/r)·B A x,   A [r, in] random, B [out, r] zero at first

so that an adapted model starts as its base, bit for bit. peft inserts them: the model keeps its class and its
forward pass, only its linear layers are replaced.

Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
Differs: by default every linear layer except the head has an adapter, as in Dettmers et al. (2023), "QLoRA", section 4,
and so have the experts of a mixture; α is twice the rank, so that a change of rank does not change the scale α/r.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file

from burnish import hub
from burnish.policies.language import smollm2
from burnish.policies.language.loading import CONVERT, PLAIN, Loading
from burnish.policies.language.lora_targets import targets_of
from burnish.run import UserError, read_mapping, refuse_special

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
POLICY, SCORER = "CAUSAL_LM", "SEQ_CLS"
"""peft's names for a language model, and for a model with a classification head."""
HEAD = "base_model.model.score."
EMBEDDED = ("burnish", "assets", "film")
BESIDE = "base"
"""The folder beside an adapter that has its base, in a run that began with a model object."""


@dataclass(frozen=True)
class Lora:
    """LoRA options. `alpha` None means twice the rank; `targets` are comma-separated names, None every linear layer."""

    rank: int
    alpha: int | None = None
    dropout: float = 0.0
    targets: str | None = None


@dataclass(frozen=True)
class AdapterSource:
    """Where a model comes from: the name or folder of its base, and the folder of an adapter, if any.

    `loading` is how the base is loaded.
    """

    base: str
    adapter: Path | None = None
    loading: Loading = PLAIN

    @property
    def tokenizer(self) -> str:
        """The adapter's folder if it has a tokenizer, else the base."""
        own = self.adapter is not None and (self.adapter / "tokenizer_config.json").exists()
        return str(self.adapter) if own else self.base


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder contains an adapter rather than a whole model."""
    return (Path(folder) / CONFIG).exists()


def source_of(name: str | Path, loading: Loading = PLAIN) -> AdapterSource:
    """What to load for a name: a model, or an adapter and the base that it was trained on, at its own revision.

    Raises UserError where an adapter's base is missing, and for a `revision` of a folder.
    """
    if not Path(name).exists():
        found = None
        hub.reachable()
        with contextlib.suppress(OSError):  # loading the model will report it
            found = find_adapter_config_file(str(name), revision=loading.revision)
        if found is None:
            return AdapterSource(str(name), None, loading)
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
        name = snapshot_download(str(name), revision=loading.revision, allow_patterns=patterns)
    elif loading.revision is not None:
        raise UserError(f"{name} is a folder, and --revision applies to a name on the hub: leave it out")
    folder = Path(name)
    refuse_special(folder)
    if not is_adapter(folder):
        return AdapterSource(os.path.abspath(folder), None, loading)
    base, revision = base_of(folder), read_mapping(folder / CONFIG).get("revision")
    if is_adapter(base):
        raise UserError(f"the adapter {folder} was trained on another adapter, {base}: merge that with `burnish merge`")
    return AdapterSource(base, folder, replace(loading, revision=revision))


def base_of(folder: Path) -> str:
    """The base that an adapter was trained on; a folder as an absolute path.

    The embedded model is found wherever the package is, smollm2 wherever the cache folder is. Raises UserError where a
    folder no longer exists.
    """
    base = str(read_mapping(folder / CONFIG).get("base_model_name_or_path") or "")
    if not base:
        raise UserError(f"{folder / CONFIG} does not name the adapter's base model: add base_model_name_or_path to it")
    if Path(base).is_dir():
        return os.path.abspath(base)
    if Path(base).is_absolute() and Path(base).name == BESIDE and (beside := folder.parent / BESIDE).is_dir():
        return os.path.abspath(beside)
    if Path(base).parts[-3:] == EMBEDDED:
        return str(files("burnish").joinpath(*EMBEDDED[1:]))
    if Path(base).name == smollm2.FOLDER:
        return str(smollm2.smollm2())
    if Path(base).is_absolute():
        raise UserError(
            f"the adapter {folder} was trained on {base}, which no longer exists: restore it, or write its new "
            f"place into {CONFIG}"
        )
    return base


def is_scorer_adapter(folder: str | Path) -> bool:
    """Whether a folder contains the adapter of a reward model."""
    return is_adapter(folder) and read_mapping(Path(folder) / CONFIG).get("task_type") == SCORER


def own_lora(folder: Path, dropout: float = 0.0) -> Lora:
    """The options that an adapter was made with, to train it further."""
    config = read_mapping(folder / CONFIG)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int):
        raise UserError(f"{folder / CONFIG} must give r and lora_alpha as whole numbers: restore it")
    return Lora(rank, alpha, dropout)


def with_adapter(
    model: PreTrainedModel, source: AdapterSource, lora: Lora | None, task: str, seed: int = 0, option: str = "--model"
) -> tuple[PreTrainedModel, Any]:
    """A base model as it is to be used, and the peft model that holds its adapter (None without one).

    Without `lora` an existing adapter is merged into the weights, or stays beside them where they are quantised. With
    it, a plain model gets a new adapter, initialised with `seed`, and an existing one is trained further. Raises
    UserError where its rank is another.
    """
    if source.adapter is None:
        return (model, None) if lora is None else (model, attach(model, source, lora, task, seed))
    adapter = read(model, source, lora, task, option)
    if lora is not None:
        return model, adapter
    return (model.requires_grad_(False) if source.loading.bits else merged(adapter)), None


def merged(adapter: Any) -> PreTrainedModel:
    """The model with its adapter merged into the weights, W + (α/r)·B A, all trainable again."""
    return adapter.merge_and_unload().requires_grad_(True)


def attach(model: PreTrainedModel, source: AdapterSource, lora: Lora, task: str, seed: int) -> Any:
    """A new adapter in `model`, whose own weights are frozen; a reward model's head is trained too."""
    from peft import LoraConfig, get_peft_model

    targets = targets_of(model, lora.targets)
    if targets.parameters and lora.dropout:
        raise UserError(
            f"lora_dropout {lora.dropout} cannot be applied to {', '.join(targets.parameters)}, which has no input of "
            "its own: set it to 0, or name other layers with lora_targets"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank if lora.alpha is None else lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets.modules,
        target_parameters=targets.parameters or None,
        task_type=task,
    )
    with reproducible(seed):
        adapter = get_peft_model(model, config)
    trained_in_float32(adapter)
    own = adapter.peft_config["default"]
    own.base_model_name_or_path, own.revision = source.base, source.loading.revision
    return adapter


def trained_in_float32(adapter: Any) -> None:
    """Keep what is trained in float32 or wider, a head too, whatever the dtype of the base."""
    for parameter in adapter.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()


def read(model: PreTrainedModel, source: AdapterSource, lora: Lora | None, task: str, option: str) -> Any:
    """Load the adapter of `source` into `model`. A reward model may start from a policy's adapter, with a new head.

    Raises UserError where it is not a LoRA adapter, has another rank than `lora`, or does not fit this model.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    folder = source.adapter
    assert folder is not None
    check(folder, lora, option)
    config = LoraConfig.from_pretrained(str(folder))
    new_head = task == SCORER and config.task_type != SCORER
    config.task_type = task
    config.base_model_name_or_path = source.base
    config.inference_mode = False  # peft saves True, which would freeze it
    config.lora_dropout = 0.0 if lora is None else lora.dropout
    with reproducible(0):
        adapter = get_peft_model(model, config)
    trained_in_float32(adapter)
    wanted, found = get_peft_model_state_dict(adapter, save_embedding_layers=False), load_file(folder / WEIGHTS)
    if new_head:
        found |= {key: tensor for key, tensor in wanted.items() if key.startswith(HEAD)}
    if found.keys() != wanted.keys():
        lacks, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
        problem = f"has no {min(lacks)}" if lacks else f"has an unknown {min(more)}"
        kind = "a reward model" if task == SCORER else "a language model"
        raise UserError(f"{option} {folder} is not a LoRA adapter for {source.base} as {kind}: it {problem}")
    set_peft_model_state_dict(adapter, found)
    return adapter


def check(folder: Path, lora: Lora | None, option: str) -> None:
    """Raise UserError for an adapter that is damaged, not a LoRA adapter, or does not match the options in `lora`."""
    config = read_mapping(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise UserError(f"{option} {folder} is an adapter of type {config.get('peft_type')}: only LoRA is supported")
    if not (folder / WEIGHTS).exists():
        pickle = (folder / "adapter_model.bin").exists()
        advice = f"its weights are a pickle, which can run code: {CONVERT}" if pickle else "save its weights there"
        raise UserError(f"{option} {folder} is an adapter without {WEIGHTS}: {advice}")
    if lora is None:
        return
    merge = "or merge it into a plain model with `burnish merge` and start a new adapter"
    for name, asked, own in (("rank", lora.rank, config["r"]), ("alpha", lora.alpha, config["lora_alpha"])):
        if asked not in (None, own):
            raise UserError(
                f"{option} {folder} is an adapter with {name} {own}: set lora_{name} {own} to train it further, {merge}"
            )
    if lora.targets is not None:
        raise UserError(f"{option} {folder} is an adapter with layers of its own: leave lora_targets out, {merge}")


def save(adapter: Any, folder: Path) -> None:
    """Write the adapter as peft does, without peft's unfilled model card."""
    config = adapter.peft_config["default"]
    config.target_modules = sorted(config.target_modules)  # a set, which every process would write in another order
    if config.target_parameters is not None:
        config.target_parameters = sorted(config.target_parameters)
    if config.modules_to_save is not None:
        config.modules_to_save = sorted(set(config.modules_to_save))
    card = folder / "README.md"
    kept = card.read_bytes() if card.exists() else None
    adapter.save_pretrained(str(folder), save_embedding_layers=False)
    card.unlink(missing_ok=True) if kept is None else card.write_bytes(kept)


def arithmetic(adapter: Any) -> str:
    """The part of an adapter's configuration that affects its numbers, as text for a cache key."""
    config = adapter.peft_config["default"].to_dict()
    apart = ("base_model_name_or_path", "inference_mode", "task_type", "revision")
    content = {key: sorted(v) if isinstance(v, set | list) else v for key, v in config.items() if key not in apart}
    return json.dumps(content, sort_keys=True, default=str)


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Use random numbers of `seed` without touching the run's, and silence peft's warnings."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield
