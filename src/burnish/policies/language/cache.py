"""A key/value cache with room: tokens are written in place, and rows enter and leave without a copy of the others.

transformers' own layers concatenate the whole cache with every new token, and copy it whenever a row leaves. All rows
end in the same column, so a row's padding is on its left.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)


class RoomyLayer(DynamicLayer):
    """Keys and values `[N, H, T, D]`: the first `rows` rows of larger buffers, written up to column `end`.

    A model that can (`whole`) is given all columns, with a mask that hides what is not written, as with transformers'
    `StaticLayer`: attention reads memory without gaps twice as fast. `offset` columns are no longer stored.
    """

    buffers: tuple[Tensor, Tensor]
    rows = end = offset = 0
    whole = False

    @property
    def reach(self) -> int:
        """The columns before a token that it can see."""
        return 2**62

    @property
    def full(self) -> bool:
        """Whether there is no room for another column."""
        return self.is_initialized and self.end == self.buffers[0].shape[2]

    def get_seq_length(self) -> int:
        return self.offset + self.end

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        written = self.end + query_length
        return (self.buffers[0].shape[2] if self.whole and self.is_initialized else written), self.offset

    def update(
        self, key_states: Float[Tensor, "N H q D"], value_states: Float[Tensor, "N H q E"], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new columns, for which there must be room; the keys and values to be seen."""
        count = key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.rows, self.end = len(key_states), count
            self.buffers = (key_states.clone(), value_states.clone())  # may be views of what the model still needs
            self._show()
            return key_states, value_states
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[: self.rows, :, self.end : self.end + count] = states
        self.end += count
        return self._show()

    def move(self, into: Int[Tensor, "m"], source: Int[Tensor, "m"], rows: int) -> None:
        """Copy rows `source` to the places `into`, then keep the first `rows`."""
        if rows > len(self.buffers[0]):
            self.resize(rows, self.get_seq_length())
        for buffer in self.buffers:
            written = buffer[:, :, : self.end]
            written[into.to(buffer.device)] = written[source.to(buffer.device)]
        self.rows = rows
        self._show()

    def join(self, others: Sequence["RoomyLayer"]) -> None:
        """Add the rows of other layers, so that all end in the same column."""
        rows = self.rows + sum(other.rows for other in others)
        columns = max(layer.get_seq_length() for layer in (self, *others))
        if rows > len(self.buffers[0]) or columns > self.get_seq_length():
            self.resize(max(rows, len(self.buffers[0])), columns)
        for other in others:
            for buffer, states in zip(self.buffers, other.buffers, strict=True):
                _write(buffer[self.rows : self.rows + other.rows, :, : self.end], states[: other.rows, :, : other.end])
            self.rows += other.rows
        self._show()

    def resize(self, rows: int, columns: int) -> None:
        """New buffers for `rows` rows, with room behind the last of `columns` columns."""
        end, old = min(columns, self.reach), self.buffers
        keys, values = (one.new_empty(rows, one.shape[1], end + room(end), one.shape[3]) for one in old)
        for buffer, states in zip((keys, values), old, strict=True):
            _write(buffer[: self.rows, :, :end], states[: self.rows, :, : self.end])
            buffer[:, :, end:] = 0
        self.buffers, self.end, self.offset = (keys, values), end, columns - end
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        columns = self.buffers[0].shape[2] if self.whole else self.end
        keys, values = (buffer[: self.rows, :, :columns] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values


def _write(buffer: Float[Tensor, "N H T D"], states: Float[Tensor, "N H t D"]) -> None:
    """Write the last columns of states into those of a new buffer; what is masked must be finite, so the rest is 0."""
    count = min(buffer.shape[2], states.shape[2])
    first = buffer.shape[2] - count
    buffer[:, :, :first] = 0
    buffer[:, :, first:] = states[:, :, states.shape[2] - count :]


class RoomySlidingLayer(RoomyLayer, DynamicSlidingWindowLayer):
    """The same for a layer that sees the columns of a window: older ones go when the buffers are made anew."""

    @property
    def reach(self) -> int:
        return self.sliding_window - 1


class RoomyHybridLayer(RoomyLayer, LinearAttentionAndFullAttentionLayer):  # type: ignore[misc, override]
    """Keys and values beside a recurrent state."""


class RoomyHybridSlidingLayer(RoomySlidingLayer, LinearAttentionAndSlidingWindowAttentionLayer):  # type: ignore[misc, override]
    """Keys and values of a window beside a recurrent state."""


ROOMY: dict[type, type[RoomyLayer]] = {
    DynamicLayer: RoomyLayer,
    DynamicSlidingWindowLayer: RoomySlidingLayer,
    LinearAttentionAndFullAttentionLayer: RoomyHybridLayer,
    LinearAttentionAndSlidingWindowAttentionLayer: RoomyHybridSlidingLayer,
}


class RoomyCache(DynamicCache):
    """transformers' cache for a model of this configuration, with room in the layers that Burnish knows.

    `whole` says that the model works with transformers' static cache. `joins` says that all layers are known, so that
    the rows of another cache can be added.
    """

    def __init__(self, config: PreTrainedConfig, whole: bool) -> None:
        super().__init__(config=config)
        self.layers = [_roomy(layer, whole) for layer in self.layers]
        known = (RoomyLayer, LinearAttentionLayer, DummyLayer)
        self.joins = all(isinstance(layer, known) for layer in self.layers)

    def keep(self, order: Sequence[int]) -> None:
        """Keep the rows `order`, in this order; a row may come several times."""
        places = torch.tensor(order)
        into = (places != torch.arange(len(order))).nonzero()[:, 0]
        for layer in self.layers:
            if isinstance(layer, LinearAttentionLayer):
                _change_states([layer], lambda states: states[0][places.to(states[0].device)])
            if isinstance(layer, RoomyLayer) and layer.is_initialized:
                layer.move(into, places[into], len(order))
            elif not isinstance(layer, LinearAttentionLayer):
                layer.reorder_cache(cast(torch.LongTensor, places))

    def join(self, others: Sequence["RoomyCache"]) -> None:
        """Add the rows of other caches of the same model."""
        for layers in zip(self.layers, *(other.layers for other in others), strict=True):
            if isinstance(layers[0], LinearAttentionLayer):
                _change_states(layers, torch.cat)
            if isinstance(layers[0], RoomyLayer) and layers[0].is_initialized:
                layers[0].join(layers[1:])

    @property
    def full(self) -> bool:
        """Whether there is no room for another token."""
        return any(isinstance(layer, RoomyLayer) and layer.full for layer in self.layers)

    @property
    def columns(self) -> int:
        """How many columns there are, with those that are not written yet."""
        layers = (layer for layer in self.layers if isinstance(layer, RoomyLayer) and layer.is_initialized)
        return max((sum(layer.get_mask_sizes(0)) for layer in layers), default=0)

    def move_back(self, places: int) -> None:
        """Count so many columns that are no longer stored."""
        for layer in self.layers:
            if isinstance(layer, RoomyLayer) and layer.is_initialized:
                layer.offset += places

    def make_room(self, columns: int) -> None:
        """Keep the last `columns` columns alone, and make room for new ones."""
        for layer in self.layers:
            if isinstance(layer, RoomyLayer) and layer.is_initialized:
                layer.resize(layer.rows, columns)


def cache_of(model: PreTrainedModel, whole: bool = True) -> RoomyCache:
    """An empty cache for a model, which is given whole buffers where it can, or with `whole` off what is written."""
    return RoomyCache(model.config, whole and model._can_compile_fullgraph)


def room(columns: int) -> int:
    """How many free columns a buffer of so many is made with: reading them costs time, and so does a new buffer."""
    return max(16, columns // 8)


def _roomy(layer: Any, whole: bool) -> Any:
    """The layer with room, where Burnish knows its kind."""
    kind = ROOMY.get(type(layer))
    if kind is None:
        return layer
    known = {name: getattr(layer, name) for name in ("sliding_window", "number_of_states") if hasattr(layer, name)}
    roomy = kind(**known)
    roomy.whole = whole
    return roomy


def _change_states(layers: Sequence[Any], change: Callable[[list[Tensor]], Tensor]) -> None:
    """Replace each state `[N, …]` of the first layer by what `change` makes of those of all layers."""
    for kind in ("conv_states", "recurrent_states"):
        states = [getattr(layer, kind) for layer in layers]
        for i, state in states[0].items():
            if state is not None:
                states[0][i] = change([one[i] for one in states])
