"""Tiny random models of families that are built in other ways than those of `tiny`."""

from typing import Any

import torch
from tiny import BOS, EOS, UNK, VOCABULARY
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

LENGTH = 64
ORIGINAL = 16  # tokens up to which LongRoPE and dynamic scaling leave positions as they are

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": UNK,
}
_ATTENTION = _COMMON | {
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": LENGTH,
}
_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 4}
_LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
FAMILIES: dict[str, dict[str, Any]] = {
    # A state instead of keys and values.
    "mamba": _COMMON | {"state_size": 8},
    "mamba2": _COMMON | {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 4},
    "falcon_mamba": _COMMON | {"state_size": 8},
    # States in some layers, keys and values in others.
    "bamba": _ATTENTION | _MAMBA2 | {"num_hidden_layers": 3, "attn_layer_indices": [1]},
    "falcon_h1": _ATTENTION | _MAMBA2 | {"mamba_d_ssm": 64, "lm_head_multiplier": 0.5},
    "lfm2": _ATTENTION | {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]},
    # Positions as distances, in a rotation of half of the dimensions, with masks of its own, or with a low-rank cache.
    "bloom": _COMMON | {"n_layer": 2, "n_head": 4, "initializer_range": 0.3},
    "mpt": _COMMON | {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": LENGTH},
    "gptj": {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": LENGTH},
    "gpt_neo": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": LENGTH,
        "window_size": 8,
        "attention_types": [[["global", "local"], 1]],
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    },
    "deepseek_v3": _ATTENTION
    | {
        "head_dim": 4,
        "num_key_value_heads": 4,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 16,
    },
    # A body by another name, and heads that do more than multiply.
    "llama4_text": _ATTENTION | {"intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 8},
    "modernbert-decoder": _ATTENTION,
    "recurrent_gemma": _ATTENTION | {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 16},
    # Caches that are not understood, besides the one before.
    "rwkv": _COMMON,
    "openai-gpt": {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": LENGTH},
    # Rotary positions that depend on a row's length.
    "phi3": _ATTENTION
    | {
        "original_max_position_embeddings": ORIGINAL,
        "rope_parameters": _LONGROPE | {"original_max_position_embeddings": ORIGINAL},
    },
    "llama": _ATTENTION
    | {
        "max_position_embeddings": ORIGINAL,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
    },
}
TUNED = {"no_rope_layers": [1, 0], "attn_temperature_tuning": True, "floor_scale": 40}
"""Llama 4 with an attention that is sharper from the 40th place in the cache on."""

UNCACHED = {"recurrent_gemma", "rwkv", "openai-gpt"}


def make_model(family: str, **changes: Any) -> PreTrainedModel:
    """A random causal language model, far from uniform so that a wrong number shows."""
    config = CONFIG_MAPPING[family](**FAMILIES[family] | changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "A_log" not in name:
                torch.nn.init.normal_(weight, std=0.3)
    return model.eval()
