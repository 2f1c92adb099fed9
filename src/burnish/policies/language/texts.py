"""Texts that grow by a token at a time, and their last hidden states."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from burnish.policies.language.cache import RoomyCache
from burnish.policies.language.parts import body


class CachedTexts:
    """Texts padded on the left and read once, then only their new tokens, with the model's cache.

    `joins` says whether the model's cache can be joined with another.
    """

    def __init__(self, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> None:
        self.model, self.lengths = model, [len(text) for text in texts]
        self.width = max(self.lengths)
        self.inputs = torch.tensor([[0] * (self.width - len(t)) + list(t) for t in texts], device=model.device)
        self.cache = RoomyCache(model.config)
        self.joins = self.cache.joins
        known = inspect.signature(body(model).forward).parameters
        self.recurrent = "cache_params" in known  # Mamba's kin
        self.takes_positions = "position_ids" in known

    def states(self) -> Float[Tensor, "N d"]:
        """The last hidden state of each text."""
        new = self.inputs.shape[1]
        columns = torch.arange(self.width, device=self.inputs.device)
        positions = columns - (self.width - torch.tensor(self.lengths, device=self.inputs.device))[:, None]
        extra: dict[str, Any] = {}
        if not (self.recurrent and new < self.width):  # their mask has the shape of the ids
            extra["attention_mask"] = (positions >= 0).long()
        if self.takes_positions:
            extra["position_ids"] = positions[:, -new:].clamp(min=0)
        extra["cache_params" if self.recurrent else "past_key_values"] = self.cache
        return body(self.model)(input_ids=self.inputs, **extra).last_hidden_state[:, -1]

    def keep(self, order: list[int]) -> None:
        """Keep the texts `order`, in this order; a text may come several times. For texts that are read."""
        self.cache.keep(order)
        self.lengths = [self.lengths[i] for i in order]
        longest = max(self.lengths)
        if self.joins and longest < self.width:
            self.cache.crop_left(self.width - longest)
            self.width = longest

    def join(self, other: "CachedTexts") -> None:
        """Add the other texts behind these. For texts that are read."""
        self.cache.join(other.cache)
        self.lengths, self.width = self.lengths + other.lengths, max(self.width, other.width)

    def extend(self, tokens: Int[Tensor, "N"]) -> None:
        """Add a token to each of the texts."""
        self.inputs, self.width = tokens[:, None], self.width + 1
        self.lengths = [length + 1 for length in self.lengths]


class WholeTexts:
    """Texts padded on the right and read from their beginning for every token: slow, and right for every model."""

    joins = True

    def __init__(self, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.texts = [torch.tensor(list(t), device=model.device) for t in texts]

    def states(self) -> Float[Tensor, "N d"]:
        """The last hidden state of each text."""
        inputs = torch.nn.utils.rnn.pad_sequence(self.texts, batch_first=True)
        hidden = body(self.model)(input_ids=inputs, use_cache=False).last_hidden_state
        return torch.stack([row[len(text) - 1] for row, text in zip(hidden, self.texts, strict=True)])

    def keep(self, order: list[int]) -> None:
        """Keep the texts `order`, in this order; a text may come several times."""
        self.texts = [self.texts[i] for i in order]

    def join(self, other: "WholeTexts") -> None:
        """Add the other texts behind these."""
        self.texts += other.texts

    def extend(self, tokens: Int[Tensor, "N"]) -> None:
        """Add a token to each of the texts."""
        self.texts = [torch.cat([text, token[None]]) for text, token in zip(self.texts, tokens, strict=True)]
