"""What an algorithm is: defaults that do nothing, facts that can be set, options that are checked."""

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any

import pytest
import tiny
import torch
from phases import ready

import burnish
from burnish.algorithms.dpo import DPO
from burnish.algorithms.interface import Algorithm, name_of
from burnish.algorithms.terms import Loss, Term
from burnish.policies.interface import Models
from burnish.training.step import gradient


@dataclass(frozen=True)
class Weighted(Algorithm):
    """Imitation with a weight: all that somebody else has to write."""

    name = "weighted"
    learning_rate = 0.5

    weight: float = burnish.option(2.0, "weight of the loss", gt=0, why="nothing would be learned")

    def loss(self, models: Models, batch: Any) -> Loss:
        return Loss({"nll": Term(-models.policy.logprobs(batch), batch.mask, weight=self.weight)})


@dataclass(frozen=True)
class Nameless(Algorithm):
    """Without any fact of its own."""


def test_the_hooks_do_nothing_unless_they_are_written() -> None:
    algorithm, batch = Nameless(), tiny.demonstrations(tiny.random_rows(2))
    assert algorithm.statistics(Models(), batch) == {}
    assert algorithm.prepare(Models(), batch, {}) is batch
    assert algorithm.stops({"anything": 1e9}) is False
    assert algorithm.conclude(dict, {"x": 1.0}) == {"x": 1.0}
    assert algorithm.refuses(batch, 5) is None
    assert algorithm.region() is None
    assert algorithm.passes == 1
    with pytest.raises(NotImplementedError, match="Nameless has no loss"):
        algorithm.loss(Models(), batch)


def test_facts_have_defaults() -> None:
    facts = (Nameless.data, Nameless.roles, Nameless.experience, Nameless.dropout, Nameless.least_rows)
    assert facts == ("demonstrations", ("policy",), "", False, 1)
    assert (Nameless.name, Nameless.paper) == ("", "")
    assert not any((Nameless.soft_labels, Nameless.rankings, Nameless.whole_episodes))
    assert (Weighted.learning_rate, Nameless.learning_rate) == (0.5, 1e-6)


def test_facts_are_no_options() -> None:
    """They stand beside the hyperparameters and never among them."""
    assert [field.name for field in fields(Weighted)] == ["weight"]
    assert fields(Nameless) == ()


def test_the_name_is_the_algorithms_own_or_its_path() -> None:
    assert name_of(Weighted()) == name_of(Weighted) == "weighted"
    assert name_of(Nameless()) == f"{__name__}:Nameless"
    for other in (object(), 3, dict):
        with pytest.raises(TypeError, match="is not an algorithm"):
            name_of(other)  # type: ignore[arg-type]


def test_options_are_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="weight must be above 0, not 0: nothing would be learned"):
        Weighted(weight=0)
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight must be above 0, not"):
            Weighted(weight=value)
    with pytest.raises(FrozenInstanceError):
        Weighted().weight = 1.0  # type: ignore[misc]
    assert DPO().beta == 0.1


def test_it_takes_part_in_a_step() -> None:
    """Log-probabilities −1 and −3 on two real tokens: twice their mean, 4, whatever stands elsewhere."""
    batch = tiny.demonstrations([([0, 4, 5], [False, True, True])])
    values = torch.tensor([[9.0, -1.0, -3.0]], requires_grad=True)
    models = Models(policy=tiny.Table(values))
    assert gradient(Weighted(), models, ready(Weighted(), models, batch))["loss"] == 4.0
    assert values.grad is not None
    assert values.grad.tolist() == [[0, -1, -1]]
