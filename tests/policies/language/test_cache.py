"""The cache with room: what attention sees is what concatenated keys and values would show it."""

import pytest
import tiny
import torch
from torch import Tensor
from transformers import DynamicCache

from burnish.policies.language.cache import RoomyLayer, RoomySlidingLayer, cache_of, room


def states(rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, 2, columns, 3, generator=generator), torch.rand(rows, 2, columns, 5, generator=generator)


def layer_of(rows: int, columns: int, seed: int) -> tuple[RoomyLayer, list[Tensor]]:
    """A layer that has read so many columns, and its keys row by row."""
    layer = RoomyLayer()
    keys, _ = layer.update(*states(rows, columns, seed))
    return layer, list(keys)


def check(layer: RoomyLayer, rows: list[Tensor]) -> None:
    """Each row's own columns end where the layer's do."""
    assert layer.keys is not None
    assert len(layer.keys) == len(rows)
    for found, expected in zip(layer.keys, rows, strict=True):
        columns = expected.shape[1]
        assert torch.equal(found[:, layer.end - columns : layer.end], expected)
    assert layer.buffers[0].isfinite().all()


@pytest.mark.parametrize("whole", [False, True])
def test_columns_are_written_behind_the_others(whole: bool) -> None:
    """40 more tokens: the buffers are made anew three times at least."""
    layer, expected = layer_of(3, 7, 0)
    layer.whole = whole
    made = {id(layer.buffers)}
    for step in range(40):
        if layer.full:
            layer.resize(3, layer.get_seq_length())
        made.add(id(layer.buffers))
        assert layer.get_mask_sizes(1) == (layer.buffers[0].shape[2] if whole else 8 + step, 0)
        new = states(3, 1, step + 1)
        expected = [torch.cat([old, more], 1) for old, more in zip(expected, new[0], strict=True)]
        keys, values = layer.update(*new)
        assert keys.shape[2] == values.shape[2] == layer.get_mask_sizes(0)[0]
        check(layer, expected)
        assert torch.equal(values[:, :, layer.end - 1], new[1][:, :, 0])
    assert layer.get_seq_length() == 47
    assert len(made) <= 4


def test_rows_leave_come_several_times_and_join() -> None:
    """Rows 0 1 2 become 2 0 0 2 (more than there were), then 1 0, then rows with longer and shorter texts join."""
    layer, rows = layer_of(3, 4, 0)
    order = torch.tensor([2, 0, 0, 2])
    layer.move(torch.arange(4), order, 4)
    check(layer, [rows[2], rows[0], rows[0], rows[2]])
    layer.move(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
    check(layer, [rows[0], rows[2]])
    longer, first = layer_of(2, 9, 1)
    shorter, second = layer_of(1, 2, 2)
    layer.join([longer, shorter])
    assert layer.get_seq_length() == 9
    check(layer, [rows[0], rows[2], *first, *second])
    layer.resize(5, 2)
    check(layer, [row[:, -2:] for row in [rows[0], rows[2], *first, *second]])


def test_a_window_keeps_its_columns_and_counts_the_others() -> None:
    """A window of 4 sees 3 columns before a token: 10 columns become 3, with 7 before them."""
    layer = RoomySlidingLayer(sliding_window=4)
    keys, _ = layer.update(*states(2, 10, 0))
    layer.resize(2, 10)
    assert (layer.get_seq_length(), layer.end, layer.offset) == (10, 3, 7)
    check(layer, list(keys[:, :, -3:]))
    new = states(2, 1, 1)
    layer.update(*new)
    assert layer.get_seq_length() == 11
    assert layer.get_mask_sizes(1) == (5, 7)
    check(layer, list(torch.cat([keys[:, :, -3:], new[0]], 2)))


def test_the_first_columns_are_not_views_of_what_the_model_wrote() -> None:
    layer, given = RoomyLayer(), states(2, 3, 0)
    layer.update(*given)
    before = layer.buffers[0].clone()
    given[0].fill_(9.0)
    assert torch.equal(layer.buffers[0], before)


def test_room_grows_with_what_there_is() -> None:
    assert [room(columns) for columns in (1, 128, 800)] == [16, 16, 100]


@pytest.mark.parametrize(("family", "whole"), [("llama", True), ("llama", False), ("mistral", True)])
def test_logits_are_those_with_transformers_own_cache(family: str, whole: bool) -> None:
    """Three texts without padding, 24 tokens one by one, of which those of a window of 4 see the last ones only."""
    model = tiny.make_model(family).double().eval()
    own, roomy = DynamicCache(config=model.config), cache_of(model, whole)
    assert roomy.joins
    ids = torch.randint(3, tiny.VOCABULARY, (3, 29), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for start, end in ((0, 5), *((i, i + 1) for i in range(5, 29))):
            if roomy.full:
                roomy.make_room(start)
            mask = torch.ones(3, max(end, roomy.columns), dtype=torch.long)
            mask[:, end:] = 0
            found = model(input_ids=ids[:, start:end], past_key_values=roomy, attention_mask=mask).logits
            expected = model(input_ids=ids[:, start:end], past_key_values=own).logits
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
