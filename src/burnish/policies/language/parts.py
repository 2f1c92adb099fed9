"""The two parts of a causal language model: the body, which reads tokens, and the head, which gives logits."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel


def body(model: PreTrainedModel) -> Any:
    """The model without its head: its output has the last hidden states."""
    base = model.base_model
    return base if base is not model else model.model  # Llama 4 calls it by another name


def embedding(model: PreTrainedModel) -> nn.Embedding:
    """The model's token embedding."""
    return cast(nn.Embedding, model.get_input_embeddings())


def context(model: PreTrainedModel) -> int | None:
    """The longest row that the model has positions for, where its configuration says so."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def head(model: PreTrainedModel, hidden: Float[Tensor, "*k d"]) -> Float[Tensor, "*k V"]:
    """The logits over the vocabulary, as the model's own forward pass computes them from its last hidden states.

    A few families scale or softly cap their logits; `check_contract` verifies that nothing else is missing.
    """
    config = model.config.get_text_config()
    if config.model_type == "modernbert-decoder":
        hidden = model.lm_head(hidden)
    logits = model.get_output_embeddings()(hidden)
    for name in ("logit_scale", "lm_head_multiplier"):  # Cohere; Falcon-H1
        scale = getattr(config, name, None)
        if isinstance(scale, int | float):
            logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / divisor
    for name in ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap"):  # Gemma; RecurrentGemma; xLSTM
        if cap := getattr(config, name, None):
            logits = cap * torch.tanh(logits / cap)
    return logits
