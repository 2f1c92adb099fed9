import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from replays import random_rows

from burnish.algorithms.terms import Loss, Term
from burnish.batches import PreparedEpisodes, Transitions
from burnish.training.control.overflow import overflow


def part(**own: Any) -> PreparedEpisodes:
    """Two steps of two runs, of which run 1 has one that is not real and holds what must not matter."""
    zeros = torch.zeros(2, 1, 2)
    mask = torch.tensor([[[True, True]], [[True, False]]])
    batch = Transitions(
        observations=torch.zeros(2, 1, 2, 3),
        actions=torch.zeros(2, 1, 2, dtype=torch.long),
        mask=mask,
        lengths=mask.sum(-1),
        rows=torch.arange(1),
        old_logprobs=zeros,
        rewards=torch.tensor([[[1.0, -5e4]], [[2.0, math.inf]]]),
        discounts=zeros,
        runs=torch.arange(2),
        progress=torch.zeros(2),
    )
    junk = torch.where(mask, 0.0, math.nan)
    return replace(PreparedEpisodes(batch, advantages=junk, old_values=junk, returns=junk), **own)


def loss(value: float = 0.0) -> Loss:
    whole = part()
    terms = {"value_avg": Term(torch.where(whole.mask, value, math.nan), whole.mask, "token", 1.0)}
    return Loss(terms=terms, metrics={})


THETAS = {"policy": torch.zeros(2, 3)}
INFINITE = torch.full((2, 1, 2), math.inf)


@pytest.mark.parametrize(
    ("batch", "lost", "thetas", "said"),
    [
        (part(), loss(), THETAS, "the gradient's norm overflows float32: "),
        (part(), loss(math.inf), THETAS, "the loss of the value_avg overflows float32: "),
        (part(advantages=INFINITE, returns=INFINITE), loss(math.inf), THETAS, "the advantages overflow float32: "),
        (part(returns=INFINITE), loss(), THETAS, "the returns overflow float32: "),
        (part(old_values=INFINITE), loss(), THETAS, "the critic's values overflow float32: "),
    ],
)
def test_the_first_number_that_overflows_is_named(batch: Any, lost: Loss, thetas: Any, said: str) -> None:
    """With what helps: smaller rewards for run 0, whose largest is 5e4, and a lower rate for run 1, whose is 2."""
    told = overflow(0, lost, batch, thetas, "the gradient's norm")
    assert told.startswith(said + "rewards are as large as 50000: set normalise_rewards")
    assert overflow(1, lost, batch, thetas, "the gradient's norm") == said + "lower the learning rate"


def test_weights_come_first() -> None:
    thetas = {"critic": torch.zeros(2, 3, dtype=torch.float64), "policy": torch.tensor([[0.0], [math.nan]])}
    said = "the policy's weights overflow float64: lower the learning rate"
    assert overflow(1, loss(math.inf), part(returns=INFINITE), thetas, "the gradient's norm") == said


def test_rewards_of_replayed_rows_are_not_told_to_be_normalised() -> None:
    """Replay has no such option."""
    rows = random_rows(2, 3, 2, 4, 3, False)
    rewards = torch.where(rows.mask, -5e4, math.inf)
    terms = {"value_avg": Term(torch.full((2, 3), math.inf), rows.real, "row", 1.0)}
    said = overflow(1, Loss(terms=terms, metrics={}), replace(rows, rewards=rewards), THETAS, "the gradient's norm")
    assert said.startswith("the loss of the value_avg overflows float32: rewards are as large as 50000: divide them in")
