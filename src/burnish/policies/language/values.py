"""Values in a model's JSON files that transformers accepts, and that end in a hang or an exception later."""

from collections.abc import Mapping
from typing import Any

from burnish.options import is_number, quoted
from burnish.run import UserError

LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
COUNTS = (
    *LAYERS,
    *("num_attention_heads", "num_key_value_heads", "num_heads", "n_head", "n_heads"),
    *("hidden_size", "intermediate_size", "vocab_size", "n_embd", "d_model", "d_kv", "d_ff", "ffn_dim"),
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "sliding_window"),
)
"""Sizes in a configuration, as most families and as GPT-2 call them."""
MOST_LAYERS = 1000
"""Every layer is a Python object before a weight is read, so that a huge number takes hours."""
IDS = ("eos_token_id", "pad_token_id", "bos_token_id")


def check_config(config: Mapping[str, Any], file: str) -> None:
    """Raise UserError, naming the `file`, where a configuration describes no model that can be built and trained."""
    for key, value in config.items():
        if isinstance(value, Mapping) and key.endswith("_config"):
            check_config(value, file)
        unused = key == "sliding_window" and config.get("use_sliding_window") is False
        if key in COUNTS and not unused and is_number(value) and not value >= 1:
            raise UserError(f"its {file} sets {key} to {value}, and it must be at least 1")
        if key in LAYERS and isinstance(value, int) and value > MOST_LAYERS:
            raise UserError(f"its {file} sets {key} to {quoted(value)}, and it must be at most {MOST_LAYERS}")
        if is_dropout(key) and not (is_number(value) and 0 <= value <= 1):
            raise UserError(f"its {file} sets {key} to {quoted(value)}, and it must be a number in [0, 1]")


def is_dropout(key: str) -> bool:
    """Whether a key of a configuration is a probability of dropout; that of a classifier may be null, and is unused."""
    named = key.endswith(("dropout", "dropout_prob", "dropout_rate", "pdrop"))
    return named and not key.startswith(("classifier", "summary"))


def check_generation(config: Mapping[str, Any], file: str) -> None:
    """Raise UserError where a token of a generation configuration is no id, or list of ids."""
    for key in IDS:
        value = config.get(key)
        ids = value if isinstance(value, list) and key == "eos_token_id" else [value]
        if value is not None and not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
            raise UserError(f"its {file} sets {key} to {quoted(value)}, and it must be the number of a token")
