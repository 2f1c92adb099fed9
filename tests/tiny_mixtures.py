"""Tiny random mixtures of experts of several families, made on the spot."""

from pathlib import Path
from typing import Any

import tiny
import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

EXPERTS, CHOSEN = 4, 2
_COMMON: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "moe_intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": tiny.CONTEXT,
    "bos_token_id": tiny.BOS,
    "eos_token_id": tiny.EOS,
    "pad_token_id": None,
    "num_experts_per_tok": CHOSEN,
}
_LATENT = {"q_lora_rank": 4, "kv_lora_rank": 4, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": _COMMON | {"num_local_experts": EXPERTS},
    "olmoe": _COMMON | {"num_experts": EXPERTS},
    "granitemoe": _COMMON | {"num_local_experts": EXPERTS},
    "qwen2_moe": _COMMON | {"num_experts": EXPERTS, "shared_expert_intermediate_size": 8},
    "qwen3_moe": _COMMON | {"num_experts": EXPERTS, "decoder_sparse_step": 1},
    "gpt_oss": _COMMON | {"num_local_experts": EXPERTS, "sliding_window": 4},
    "phimoe": _COMMON | {"num_local_experts": EXPERTS},
    "ernie4_5_moe": _COMMON | {"moe_num_experts": EXPERTS, "moe_k": CHOSEN, "moe_layer_start_index": 1},
    "deepseek_v3": _COMMON
    | _LATENT
    | {
        "n_routed_experts": EXPERTS,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 2,
    },
    "jetmoe": _COMMON | {"num_local_experts": EXPERTS, "kv_channels": 8},
}
for _name, _absent in {"jetmoe": ("head_dim", "num_attention_heads"), "deepseek_v3": ("head_dim",)}.items():
    FAMILIES[_name] = {key: value for key, value in FAMILIES[_name].items() if key not in _absent}


def make_mixture(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random causal language model with weights large enough for every expert to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = transformers.CONFIG_MAPPING[family](**FAMILIES[family] | changes)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.2)
        return model


def save_mixture(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """The model with its tokenizer, as transformers saves them."""
    make_mixture(family, seed, **changes).save_pretrained(folder)
    tiny.make_tokenizer().save_pretrained(folder)
    return folder
