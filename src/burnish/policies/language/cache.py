"""A key/value cache with room: tokens are written in place, and rows enter and leave without a copy of the others.

transformers' own layers concatenate the whole cache with every new token, and copy it for every row that leaves. All
rows end in the same column, so a row's padding is on its left.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

ROOM = 64  # columns that a buffer has free at least when it is made


class RoomyLayer(DynamicLayer):
    """Keys and values `[N, H, T, D]`: the first `rows` rows and the columns `start` to `end` of larger buffers."""

    buffers: tuple[Tensor, Tensor]
    rows = start = end = 0

    @property
    def reach(self) -> int:
        """The columns before a token that it can see."""
        return 2**62

    def update(
        self, key_states: Float[Tensor, "N H q D"], value_states: Float[Tensor, "N H q E"], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new columns, and return those that their tokens can see."""
        new = (key_states, value_states)
        count = key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.rows, self.buffers = len(key_states), _buffers(new, len(key_states), count)
        elif self.end + count > self.buffers[0].shape[2]:
            self._resize(len(self.buffers[0]), min(self.end - self.start, self.reach))
        self.start = max(self.start, self.end - self.reach)
        for buffer, states in zip(self.buffers, new, strict=True):
            buffer[: self.rows, :, self.end : self.end + count] = states
        self.end += count
        self._show()
        return self.keys, self.values

    def move(self, into: Int[Tensor, "m"], source: Int[Tensor, "m"], rows: int) -> None:
        """Copy rows `source` to the places `into`, then keep the first `rows`."""
        if not self.is_initialized:  # the model does not use this layer
            return
        if rows > len(self.buffers[0]):
            self._resize(rows, self.end - self.start)
        for buffer in self.buffers:
            seen = buffer[:, :, self.start : self.end]
            seen[into.to(seen.device)] = seen[source.to(seen.device)]
        self.rows = rows
        self._show()

    def crop_left(self, columns: int) -> None:
        """Leave out columns on the left, in which no row has a token."""
        if self.is_initialized:
            self.start += columns
            self._show()

    def join(self, other: "RoomyLayer") -> None:
        """Add the rows of another layer, so that both end in the same column."""
        if not self.is_initialized:
            return
        rows, theirs = self.rows + other.rows, other.end - other.start
        width = max(self.end - self.start, theirs)
        if rows > len(self.buffers[0]) or width > self.end:
            self._resize(max(rows, len(self.buffers[0])), width)
        for buffer, states in zip(self.buffers, (other.keys, other.values), strict=True):
            buffer[self.rows : rows, :, self.end - theirs : self.end] = states
        self.rows, self.start = rows, self.end - width
        self._show()

    def _resize(self, rows: int, end: int) -> None:
        """New buffers for so many rows, in which the present columns end at `end`."""
        width = min(self.end - self.start, end)
        old, self.buffers = self.buffers, _buffers(self.buffers, rows, end)
        for buffer, states in zip(self.buffers, old, strict=True):
            buffer[: self.rows, :, end - width : end] = states[: self.rows, :, self.end - width : self.end]
        self.start, self.end = end - width, end

    def _show(self) -> None:
        self.keys, self.values = (buffer[: self.rows, :, self.start : self.end] for buffer in self.buffers)


class RoomySlidingLayer(RoomyLayer, DynamicSlidingWindowLayer):
    """The same where a token sees no more than the `sliding_window`'s columns."""

    @property
    def reach(self) -> int:
        return self.sliding_window - 1

    def update(
        self, key_states: Float[Tensor, "N H q D"], value_states: Float[Tensor, "N H q E"], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new columns, and return those that their tokens can see."""
        self.cumulative_length += key_states.shape[2]
        return super().update(key_states, value_states)

    def crop_left(self, columns: int) -> None:
        """Leave out columns on the left, in which no row has a token."""
        self.cumulative_length -= columns
        super().crop_left(max(0, self.end - self.start - self.cumulative_length))

    def join(self, other: RoomyLayer) -> None:
        """Add the rows of another layer, so that both end in the same column."""
        self.cumulative_length = max(self.cumulative_length, other.get_seq_length())
        super().join(other)


class RoomyHybridLayer(RoomyLayer, LinearAttentionAndFullAttentionLayer):
    """Keys and values beside a recurrent state."""


class RoomyHybridSlidingLayer(RoomySlidingLayer, LinearAttentionAndSlidingWindowAttentionLayer):
    """Keys and values of a window beside a recurrent state."""


ROOMY: dict[type, type[RoomyLayer]] = {
    DynamicLayer: RoomyLayer,
    DynamicSlidingWindowLayer: RoomySlidingLayer,
    LinearAttentionAndFullAttentionLayer: RoomyHybridLayer,
    LinearAttentionAndSlidingWindowAttentionLayer: RoomyHybridSlidingLayer,
}


class RoomyCache(DynamicCache):
    """transformers' cache for a model of this configuration, with room in the layers that Burnish knows.

    `joins` says that it knows all of them, so that the rows of another cache can be added.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config=config)
        if self.layer_class_to_replicate is not None:
            self.layer_class_to_replicate = RoomyLayer
        self.layers = [_roomy(layer) for layer in self.layers]
        known = (RoomyLayer, LinearAttentionLayer, DummyLayer)
        self.joins = all(isinstance(layer, known) for layer in self.layers)

    def keep(self, order: list[int]) -> None:
        """Keep the rows `order`, in this order; a row may come several times."""
        places = torch.tensor(order)
        into = (places != torch.arange(len(order))).nonzero()[:, 0]
        for layer in self.layers:
            if isinstance(layer, LinearAttentionLayer):
                _change_states(layer, layer, lambda state, _: state[places.to(state.device)])
            if isinstance(layer, RoomyLayer):
                layer.move(into, places[into], len(order))
            elif not isinstance(layer, LinearAttentionLayer):
                layer.reorder_cache(places)

    def crop_left(self, columns: int) -> None:
        """Leave out columns on the left, in which no row has a token."""
        for layer in self.layers:
            if isinstance(layer, RoomyLayer):
                layer.crop_left(columns)

    def join(self, other: "RoomyCache") -> None:
        """Add the rows of another cache of the same model."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            if isinstance(mine, LinearAttentionLayer):
                _change_states(mine, theirs, lambda state, new: torch.cat([state, new]))
            if isinstance(mine, RoomyLayer):
                mine.join(theirs)


def _roomy(layer: Any) -> Any:
    """The layer with room, where Burnish knows its kind."""
    kind = ROOMY.get(type(layer))
    if kind is None:
        return layer
    known = {name: getattr(layer, name) for name in ("sliding_window", "number_of_states") if hasattr(layer, name)}
    return kind(**known)


def _change_states(mine: Any, other: Any, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Replace each state `[N, …]` of a layer by what `change` makes of it and of the other layer's."""
    for kind in ("conv_states", "recurrent_states"):
        states, others = getattr(mine, kind), getattr(other, kind)
        for i, state in states.items():
            if state is not None:
                states[i] = change(state, others[i])


def _buffers(like: tuple[Tensor, Tensor], rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Zeros with room behind so many columns: what is not written must stay finite, as masked scores are added."""
    room = columns + max(ROOM, columns // 2)
    keys, values = (one.new_zeros(rows, one.shape[1], room, one.shape[3]) for one in like)
    return keys, values
