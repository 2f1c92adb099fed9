"""What every algorithm of the table owes the step, the command line and the reader."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_scorers import make_scorer

from burnish.algorithms.dpo import DPO
from burnish.algorithms.hinge import Hinge
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.table import ALGORITHMS, Entry, name_of, objection
from burnish.algorithms.terms import Term
from burnish.batches import Episodes, Feedback
from burnish.functional import aggregate
from burnish.policies.interface import Models
from burnish.policies.language.reference import cached_reference
from burnish.training.step import totals

LEARNED = {"completions": "episodes", "pairs": "preferences", "bests": "demonstrations"}
"""What a method that samples learns from, by its experience."""


def batch_of(entry: Entry) -> Any:
    kind = LEARNED.get(entry.experience, entry.data)
    if kind == "feedback":
        pairs = tiny.preferences(tiny.random_pairs(6, seed=2))
        return Feedback(pairs.tokens, pairs.mask, pairs.lengths, pairs.rows, torch.arange(6) % 3 > 0)
    if kind == "preferences":
        return tiny.preferences(tiny.random_pairs(6, seed=2))
    texts = tiny.demonstrations(tiny.random_rows(6, seed=2))
    if kind == "demonstrations":
        return texts
    numbers = torch.randn(2, *texts.mask.shape, generator=torch.Generator().manual_seed(2)).double()
    rewards, discounts = numbers[0], texts.mask.double()
    return Episodes(texts.tokens, texts.mask, texts.lengths, texts.rows, numbers[1], rewards, discounts)


def models_of(entry: Entry, batch: Any, cache: Path) -> Models:
    if entry.trains == "scorer":
        return Models(scorer=make_scorer("gpt2"))
    policy = tiny.make_policy("gpt2")
    if entry.experience:
        return Models(policy, policy, make_scorer("gpt2"))
    return Models(policy, cached_reference(policy, lambda: [batch], "data", cache) if entry.reference else None)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_terms_mask_counts_what_the_step_divides_by(name: str, tmp_path: Path) -> None:
    """Aggregating with the term's own counts or with the batch's gives the same: so parts add up to the whole."""
    entry = ALGORITHMS[name]
    algorithm, batch = entry.algorithm(), batch_of(entry)
    models = models_of(entry, batch, tmp_path)
    prepared = algorithm.prepare(models, batch)
    counts = totals(prepared)
    loss = algorithm.loss(models, prepared)
    assert loss.terms
    for term in loss.terms.values():
        assert torch.isfinite(term.losses[term.mask]).all()
        count = counts[term.total or term.over]
        own = aggregate(term.losses, term.mask, over=term.over)
        assert own.item() == pytest.approx(aggregate(term.losses, term.mask, term.over, count).item())
        real = term.mask.sum() if term.over != "sequence" else term.mask.any(-1).sum()
        assert real == count > 0
    for values in loss.metrics.values():
        numbers = values
        if isinstance(values, Term):
            assert values.mask.sum() == counts[values.total or values.over]
            numbers = values.losses
        assert numbers.shape in ((len(batch),), batch.mask.shape)
        assert not numbers.requires_grad


def test_data_that_a_method_cannot_use_as_asked_are_told() -> None:
    """Margins are there for whom wants them; a weight without margins, and labels that nobody takes, are refused."""
    plain = tiny.preferences(tiny.random_pairs(3))
    margins, labels = (dataclasses.replace(plain, **{name: torch.ones(3)}) for name in ("margins", "confidences"))
    for name, entry in ALGORITHMS.items():
        if entry.data == "preferences":
            assert objection(entry.algorithm(), plain, 2) is None
            assert objection(entry.algorithm(), margins, 2) is None, name
    assert "hinge has no place for confidences" in str(objection(Hinge(), labels, 2))
    assert "dpo" in str(objection(Hinge(), labels, 2))
    for algorithm in (DPO(margin_weight=0.5), RewardModel(margin_weight=1.0)):
        assert objection(algorithm, margins, 2) is None
        assert "margin_weight is what margins are worth" in str(objection(algorithm, plain, 2))
    assert objection(RewardModel(), plain, 4) is None
    for batch in (margins, labels):
        assert "a row ranks 4 responses" in str(objection(RewardModel(), batch, 4))


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
