"""Texts that grow by a token at a time, and their last hidden states."""

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from burnish.policies.language.parts import body


class CachedTexts:
    """Texts padded on the left and read once, then only their new tokens, with the model's cache."""

    def __init__(self, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> None:
        longest = max(map(len, texts))
        self.model, device = model, model.device
        self.inputs = torch.tensor([[0] * (longest - len(t)) + list(t) for t in texts], device=device)
        self.real = torch.tensor([[False] * (longest - len(t)) + [True] * len(t) for t in texts], device=device)
        self.cache = DynamicCache(config=model.config)
        known = inspect.signature(body(model).forward).parameters
        self.recurrent = "cache_params" in known  # Mamba's kin
        self.takes_positions = "position_ids" in known

    def states(self) -> Float[Tensor, "N d"]:
        """The last hidden state of each text."""
        extra: dict[str, Any] = {"attention_mask": self.real.long()}
        if self.takes_positions:
            extra["position_ids"] = (self.real.long().cumsum(1) - 1).clamp(min=0)[:, -self.inputs.shape[1] :]
        if self.recurrent and self.real.shape != self.inputs.shape:
            del extra["attention_mask"]  # their mask has the shape of the ids
        extra["cache_params" if self.recurrent else "past_key_values"] = self.cache
        output = body(self.model)(input_ids=self.inputs, **extra)
        return output.last_hidden_state[:, -1]

    def extend(self, tokens: Int[Tensor, "n"], kept: Int[Tensor, "n"] | None = None) -> None:
        """Add a token to each of the texts numbered `kept`, or to all, and leave the others out."""
        real = torch.cat([self.real, self.real.new_ones(len(self.real), 1)], 1)
        if kept is not None:
            self.cache.reorder_cache(cast(torch.LongTensor, kept))
            real = real[kept]
        self.inputs, self.real = tokens[:, None], real


class WholeTexts:
    """Texts padded on the right and read from their beginning for every token: slow, and right for every model."""

    def __init__(self, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.texts = [torch.tensor(list(t), device=model.device) for t in texts]

    def states(self) -> Float[Tensor, "N d"]:
        """The last hidden state of each text."""
        inputs = torch.nn.utils.rnn.pad_sequence(self.texts, batch_first=True)
        hidden = body(self.model)(input_ids=inputs, use_cache=False).last_hidden_state
        return torch.stack([row[len(text) - 1] for row, text in zip(hidden, self.texts, strict=True)])

    def extend(self, tokens: Int[Tensor, "n"], kept: Int[Tensor, "n"] | None = None) -> None:
        """Add a token to each of the texts numbered `kept`, or to all, and leave the others out."""
        texts = self.texts if kept is None else [self.texts[i] for i in kept.tolist()]
        self.texts = [torch.cat([text, token[None]]) for text, token in zip(texts, tokens, strict=True)]
