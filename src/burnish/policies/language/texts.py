"""Texts that grow by a token at a time, and their last hidden states."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from burnish.policies.language.attention import decoding
from burnish.policies.language.cache import cache_of, room
from burnish.policies.language.parts import body, context


class CachedTexts:
    """Texts padded on the left and read once, then only their new tokens, with the model's cache, see `cache_of`."""

    def __init__(self, model: PreTrainedModel, texts: Sequence[Sequence[int]], whole: bool = True) -> None:
        self.model, self.lengths = model, [len(text) for text in texts]
        self.width, self.context = max(self.lengths), context(model) or 2**62
        self.inputs = torch.tensor([[0] * (self.width - len(t)) + list(t) for t in texts], device=model.device)
        self.cache = cache_of(model, whole)
        known = inspect.signature(body(model).forward).parameters
        self.recurrent = "cache_params" in known  # Mamba's kin
        self.takes_positions = "position_ids" in known

    def states(self) -> Float[Tensor, "N d"]:
        """The last hidden state of each text."""
        new, device = self.inputs.shape[1], self.inputs.device
        lengths = torch.tensor(self.lengths, device=device)[:, None]
        positions = torch.arange(max(self.width, self.cache.columns), device=device) - (self.width - lengths)
        extra: dict[str, Any] = {}
        if not (self.recurrent and new < self.width):  # their mask has the shape of the ids
            extra["attention_mask"] = ((positions >= 0) & (positions < lengths)).long()
        if self.takes_positions:
            extra["position_ids"] = positions[:, self.width - new : self.width].clamp(min=0)
        extra["cache_params" if self.recurrent else "past_key_values"] = self.cache
        with decoding():
            return body(self.model)(input_ids=self.inputs, **extra).last_hidden_state[:, -1]

    def keep(self, order: Sequence[int]) -> None:
        """Keep the texts `order`, in this order; a text may come several times. For texts that are read."""
        self.cache.keep(order)
        self.lengths = [self.lengths[i] for i in order]

    def join(self, others: Sequence["CachedTexts"]) -> None:
        """Add other texts behind these. For texts that are read."""
        self.cache.join([other.cache for other in others])
        self.lengths = [length for texts in (self, *others) for length in texts.lengths]
        self.width = max(texts.width for texts in (self, *others))

    def move_back(self, places: int) -> None:
        """Count so many columns of the cache before the first one, as if a longer text had been there."""
        self.cache.move_back(places)
        self.width += places

    def extend(self, tokens: Int[Tensor, "N"]) -> None:
        """Add a token to each of the texts."""
        longest = max(self.lengths) if self.cache.joins else self.width
        most = min(longest + room(longest), self.context - 1)  # GPT-Neo has masks for so many columns
        if self.cache.full or self.width > max(longest, most):  # no text has a token in the columns before
            self.cache.make_room(longest)
            self.width = longest
        self.inputs, self.width = tokens[:, None], self.width + 1
        self.lengths = [length + 1 for length in self.lengths]


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

    def keep(self, order: Sequence[int]) -> None:
        """Keep the texts `order`, in this order; a text may come several times."""
        self.texts = [self.texts[i] for i in order]

    def join(self, others: Sequence["WholeTexts"]) -> None:
        """Add other texts behind these."""
        self.texts = [text for texts in (self, *others) for text in texts.texts]

    def extend(self, tokens: Int[Tensor, "N"]) -> None:
        """Add a token to each of the texts."""
        self.texts = [torch.cat([text, token[None]]) for text, token in zip(self.texts, tokens, strict=True)]
