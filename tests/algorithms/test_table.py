"""What every algorithm of the table owes the step, the command line and the reader."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.functional import aggregate
from burnish.policies.interface import Models
from burnish.policies.reference import cached_reference
from burnish.training.step import totals


def batch_of(kind: str) -> Any:
    return {"demonstrations": tiny.demonstrations(tiny.random_rows(6, seed=2))}.get(kind) or tiny.preferences(
        tiny.random_pairs(6, seed=2)
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_terms_mask_counts_what_the_step_divides_by(name: str, tmp_path: Path) -> None:
    """Aggregating with the term's own counts or with the batch's gives the same: so parts add up to the whole."""
    entry = ALGORITHMS[name]
    algorithm, batch, policy = entry.algorithm(), batch_of(entry.data), tiny.make_policy("gpt2")
    reference = cached_reference(policy, lambda: [batch], "data", tmp_path) if entry.reference else None
    models = Models(policy, reference)
    prepared = algorithm.prepare(models, batch)
    counts = totals(prepared)
    loss = algorithm.loss(models, prepared)
    assert loss.terms
    for term in loss.terms.values():
        assert torch.isfinite(term.losses[term.mask]).all()
        own = aggregate(term.losses, term.mask, over=term.over)
        assert own.item() == pytest.approx(aggregate(term.losses, term.mask, term.over, counts[term.over]).item())
        real = term.mask.sum() if term.over != "sequence" else term.mask.any(-1).sum()
        assert real == counts[term.over] > 0
    for values in loss.metrics.values():
        assert values.shape == (len(batch),)
        assert not values.requires_grad


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_entry_is_a_frozen_dataclass_with_help_on_every_field(name: str) -> None:
    entry = ALGORITHMS[name]
    algorithm = entry.algorithm()
    assert name_of(algorithm) == name
    assert entry.summary
    assert entry.algorithm.__doc__
    for field in dataclasses.fields(entry.algorithm):
        assert field.metadata["help"]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(algorithm, field.name, None)
