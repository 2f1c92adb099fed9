"""Batches: rows chosen together in every field, and moved together."""

import dataclasses

import pytest
import tiny
import torch

from burnish.batches import Demonstrations, Preferences

DEMONSTRATIONS = tiny.demonstrations(tiny.random_rows(5))


def preferences_with_reference() -> Preferences:
    plain = tiny.preferences(tiny.random_pairs(5))
    return dataclasses.replace(plain, ref_logprobs=torch.arange(1.0 * plain.mask.numel()).view(plain.mask.shape))


@pytest.mark.parametrize("batch", [DEMONSTRATIONS, preferences_with_reference()], ids=["rows", "pairs"])
@pytest.mark.parametrize("index", [torch.tensor([3, 0, 3]), slice(1, 4), torch.tensor([], dtype=torch.long)], ids=str)
def test_rows_are_selected_in_every_field(batch: Demonstrations | Preferences, index: torch.Tensor | slice) -> None:
    chosen = batch.select(index)
    assert type(chosen) is type(batch)
    for field in dataclasses.fields(batch):
        assert torch.equal(getattr(chosen, field.name), getattr(batch, field.name)[index])
    assert len(chosen) == len(torch.arange(5)[index])


def test_a_field_that_is_not_there_stays_away() -> None:
    batch = tiny.preferences(tiny.random_pairs(3))
    assert batch.ref_logprobs is None
    assert batch.select(slice(0, 2)).ref_logprobs is None
    assert batch.to("meta").ref_logprobs is None


def test_every_field_moves() -> None:
    moved = preferences_with_reference().to(torch.device("meta"))
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(moved)} == {"meta"}
    assert len(moved) == 5


def test_a_batch_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEMONSTRATIONS.rows = torch.zeros(5)  # type: ignore[misc]
