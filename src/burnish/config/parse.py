"""Reading a configuration: YAML files, and values converted to the types of dataclass fields.

A key that is unknown, has the wrong type, or appears twice is refused here.
"""

import difflib
import math
from collections import Counter
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from burnish.data.names import joined
from burnish.options import quoted
from burnish.run import UserError, refuse_special
from burnish.run.plain_yaml import PlainLoader, read_yaml

ELSEWHERE = {
    "max_steps": "steps",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "output_dir": "out",
    "train_dataset": "data",
    "eval_dataset": "eval_data",
    "dataset_name": "data",
    "dataset_streaming": "streaming",
    "buffer_size": "shuffle_buffer",
    "model_name_or_path": "model",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "schedule",
    "save_steps": "save_every",
    "save_total_limit": "keep_checkpoints",
    "load_best_model_at_end": "save_best",
    "early_stopping_patience": "patience",
    "resume_from_checkpoint": "resume",
    "eval_steps": "eval_every",
    "lr": "learning_rate",
    "reward_model_path": "reward",
    "kl_coef": "beta",
    "init_kl_coef": "beta",
    "cliprange": "clip",
    "clip_range": "clip",
    "cliprange_value": "value_clip",
    "clip_range_vf": "value_clip",
    "vf_coef": "value_weight",
    "ent_coef": "entropy_weight",
    "lam": "lambda_",
    "gae_lambda": "lambda_",
    "num_ppo_epochs": "update_epochs",
    "n_epochs": "update_epochs",
    "response_length": "max_new_tokens",
    "num_generations": "completions_per_prompt",
    "target_kl": "stop_kl",
    "center_rewards_coefficient": "centre_coefficient",
    "lora_r": "lora_rank",
    "use_peft": "lora_rank",
    "lora_target_modules": "lora_targets",
    "model_revision": "revision",
    "torch_dtype": "dtype",
    "optim": "optimizer",
    "optimizer_type": "optimizer",
    "beta1": "adam_beta1",
    "beta2": "adam_beta2",
    "adam_eps": "adam_epsilon",
    "sgd_momentum": "momentum",
    "max_seq_length": "max_length",
    "model_path": "model",
    "sft_model_path": "model",
    "dataset": "data",
    "train_file": "data",
    "prompt": "data",
    "prompts": "data",
    "validation_file": "eval_data",
    "num_epochs": "epochs",
    "train_batch_size": "batch_size",
    "grad_accum_steps": "accumulate",
    "activation_checkpointing": "gradient_checkpointing",
    "use_gradient_checkpointing": "gradient_checkpointing",
    "gradient_clipping": "max_grad_norm",
    "lr_scheduler": "schedule",
    "neftune_noise_alpha": "neftune",
    "neftune_alpha": "neftune",
    "logging_steps": "log_every",
    "log_interval": "log_every",
    "min_lr_rate": "min_lr_ratio",
    "min_lr": "min_lr_ratio",
    "num_warmup_steps": "warmup",
    "num_decay_steps": "decay",
    "lr_decay_steps": "decay",
    "lr_decay_style": "decay_type",
    "bf16": "precision",
    "eval_strategy": "eval_every",
    "save_strategy": "save_every",
    "use_cpu": "device",
    "data_seed": "seed",
    "reward_funcs": "reward",
    "normalize_advantage": "standardise_advantages",
    "report_to": "track",
    "max_completion_length": "max_new_tokens",
    "max_prompt_length": "max_length",
    "num_iterations": "update_epochs",
    "rloo_k": "completions_per_prompt",
    "epsilon": "clip",
    "epsilon_high": "clip_high",
    "sync_ref_model": "refresh_reference",
    "ref_model_sync_steps": "refresh_reference",
    "rpo_alpha": "nll_weight",
    "cpo_alpha": "nll_weight",
    "f_divergence_type": "divergence",
    "reward_weights": "reward",
    "judge": "reward",
    "teacher_model_name_or_path": "teacher",
    "fp16": "precision",
    "bf16_full_eval": "precision",
    "logging_strategy": "log_every",
    "metric_for_best_model": "save_best",
    "gradient_checkpointing_kwargs": "gradient_checkpointing",
    "disable_tqdm": "quiet",
    "run_name": "out",
    "exp_name": "out",
}
"""Names in TRL, transformers and Stable-Baselines3, and the names of the same options here."""

UNLIKE = {
    "per_device_train_batch_size": "all rows of an update, however they are divided",
    "gradient_accumulation_steps": "micro-batches that batch_size is divided into, not multiplied by",
}
"""What to know of an option here that counts something else than its namesake there."""

INSTEAD = {
    "loss_type": "each loss is a method of its own here, such as `burnish ipo`: `burnish --help` lists them",
    "packing": "rows are packed by themselves here: leave it out",
    "padding_free": "rows are packed by themselves here: leave it out",
    "completion_only_loss": "only responses are trained here: leave it out",
    "assistant_only_loss": "only responses are trained here: leave it out",
    "precompute_ref_log_probs": "the reference's log-probabilities are computed once here: leave it out",
    "use_vllm": "completions are drawn by Burnish's own sampler, or by the server that sampler names: leave it out",
    "push_to_hub": "upload the folder model in the run with `hf upload` afterwards",
}
"""What takes the place of other libraries' options that have no counterpart."""

FLAGS_ONLY = {"trust_remote_code"}
"""Options that are neither read from a file nor written to one."""


def option_names(cls: type[Any]) -> set[str]:
    """The keys of a dataclass of options: its fields with a help text."""
    return {f.name for f in fields(cls) if "help" in f.metadata}


def read_config(path: str | Path) -> dict[str, Any]:
    """The keys of a YAML file. Raises UserError where it cannot be read or is not a mapping."""
    refuse_special(path)
    try:
        content = read_yaml(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"--config {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"--config {path} must contain one `key: value` pair per line")
    refuse_flags(content, f"--config {path}")
    return {str(key): value for key, value in content.items()}


def refuse_flags(content: dict[Any, Any], where: str) -> None:
    """Raise UserError for a key that only the command line may give: a file may come from somebody else."""
    for key in content:
        if (name := str(key).replace("-", "_")) in FLAGS_ONLY:
            raise UserError(
                f"{where} sets {key}, which no file may do: give the flag --{name.replace('_', '-')} instead"
            )


class _Loader(PlainLoader):
    """YAML in which a duplicate key is an error: the first value would be ignored.

    A merge key (`<<: *name`) adds what another mapping has; the keys that are written beside it come first.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        merge = "tag:yaml.org,2002:merge"
        keys = [key.value if key.tag == merge else self.construct_object(key, deep=True) for key, _ in node.value]
        if doubled := [key for key, times in Counter(map(str, keys)).items() if times > 1]:
            raise yaml.MarkedYAMLError(problem=f"the key '{doubled[0]}' is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def construct(cls: type, values: dict[str, Any]) -> Any:
    """A dataclass object from values in files or flags. Raises UserError for an invalid value."""
    hints = get_type_hints(cls)
    several, infinite = ({f.name for f in fields(cls) if f.metadata.get(kind)} for kind in ("several", "infinite"))
    values = {key: _joined(key, value) if key in several else value for key, value in values.items()}
    try:
        return cls(**{key: _convert(key, value, hints[key], key in infinite) for key, value in values.items()})
    except ValueError as error:
        raise UserError(str(error)) from error


def _joined(key: str, value: Any) -> Any:
    """A list of texts as one text, anything else unchanged."""
    if not isinstance(value, list | tuple):
        return value
    if wrong := next((one for one in value if not isinstance(one, str | Path)), None):
        raise UserError(f"{key} must be text, or a list of texts, not a list with a {type(wrong).__name__}")
    if not value:
        raise UserError(f"{key} is an empty list: give at least one name, or leave it out")
    return joined(value)


def _convert(key: str, value: Any, hint: Any, infinite: bool) -> Any:
    """The value converted to its field's type; whole numbers may be written as 1e3, paths given as Path. A number is
    finite, unless the field allows `infinite` ones."""
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"{key} contains a NUL character, which no name may have: leave it out")
    if hint is Any:
        return str(value) if isinstance(value, Path) else value
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return None
    kind = next(k for k in kinds if k is not NoneType)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise UserError(f"{key} must be one of {', '.join(map(str, get_args(kind)))}, not {quoted(value)}")
    if kind is bool:
        if isinstance(value, bool):
            return value
    elif kind is str:
        if isinstance(value, str | Path):
            return str(value)
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif not isinstance(value, bool):
        try:
            number = float(value)  # YAML reads 1e-4 as text
            fine = not math.isnan(number) if infinite else math.isfinite(number)
            if fine and (kind is float or number.is_integer()):
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            pass
    if kind not in (bool, str, int, float):
        raise UserError(f"{key} cannot be an option of type {kind}: use bool, int, float, str or a Literal of these")
    real = "a number" if infinite else "a finite number"
    noun = {bool: "true or false", str: "text", int: "a whole number", float: real}[kind]
    given = quoted(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    raise UserError(f"{key} must be {noun}, not {given}")


def suggestion(key: str, known: set[str]) -> str:
    """A suggestion for an unknown key, as the end of a sentence."""
    key = key.replace("-", "_")
    if key in INSTEAD:
        return f": {INSTEAD[key]}"
    if ELSEWHERE.get(key) in known:
        return translation(key, ELSEWHERE[key])
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean '{near[0]}'?" if near else f"; the keys are {', '.join(sorted(known))}"


def translation(key: str, name: str) -> str:
    """The `name` here of an option that another library calls `key`, as the end of a sentence."""
    return f": it is '{name}' here" + (f" ({UNLIKE[key]})" if key in UNLIKE else "")
