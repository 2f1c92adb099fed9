"""Batches: rows chosen together in every field, and moved together."""

import dataclasses

import pytest
import tiny
import torch
from phases import acted

from burnish.batches import Demonstrations, Episodes, Feedback, Preferences, PreparedFeedback, PreparedPreferences

DEMONSTRATIONS = tiny.demonstrations(tiny.random_rows(5))


def complete_preferences() -> Preferences:
    """Pairs with every field, and no number twice."""
    plain = tiny.preferences(tiny.random_pairs(5))
    return dataclasses.replace(
        plain,
        margins=torch.arange(5.0) / 8,
        confidences=torch.arange(5.0) / 4,
    )


def complete_feedback() -> Feedback:
    pairs = complete_preferences()
    return Feedback(pairs.tokens, pairs.mask, pairs.lengths, pairs.rows, torch.tensor([True, False, False, True, True]))


@pytest.mark.parametrize(
    "batch", [DEMONSTRATIONS, complete_preferences(), complete_feedback()], ids=["rows", "pairs", "feedback"]
)
@pytest.mark.parametrize("index", [torch.tensor([3, 0, 3]), slice(1, 4), torch.tensor([], dtype=torch.long)], ids=str)
def test_rows_are_selected_in_every_field(
    batch: Demonstrations | Preferences | Feedback, index: torch.Tensor | slice
) -> None:
    chosen = batch.select(index)
    assert type(chosen) is type(batch)
    for field in dataclasses.fields(batch):
        whole = getattr(batch, field.name)
        assert torch.equal(getattr(chosen, field.name), whole[index] if whole.dim() else whole)
    assert len(chosen) == len(torch.arange(5)[index])


def test_a_field_that_is_not_there_stays_away() -> None:
    batch = tiny.preferences(tiny.random_pairs(3))
    for narrowed in (batch, batch.select(slice(0, 2)), batch.to("meta")):
        assert (narrowed.margins, narrowed.confidences) == (None, None)


def test_parts_of_a_batch_are_joined_to_the_batch() -> None:
    """Also of a prepared one, whose 0-d tensor is the same in all parts, and of one that lacks fields."""
    feedback = complete_feedback()
    ready = PreparedFeedback(feedback, torch.rand(feedback.mask.shape), torch.tensor(0.5))
    first, *others = (ready.select(slice(*ends)) for ends in ((0, 2), (2, 3), (3, 5)))
    joined = first.joined(others)
    assert torch.equal(joined.ref_logprobs, ready.ref_logprobs)
    assert joined.kl == 0.5
    for field in dataclasses.fields(feedback):
        assert torch.equal(getattr(joined.batch, field.name), getattr(feedback, field.name))
    pairs = PreparedPreferences(tiny.preferences(tiny.random_pairs(3)))
    again = pairs.select(slice(0, 1)).joined([pairs.select(slice(1, 3))])
    assert torch.equal(again.batch.tokens, pairs.batch.tokens)
    assert (again.ref_logprobs, again.batch.margins) == (None, None)


@pytest.mark.parametrize("batch", [complete_preferences(), complete_feedback()], ids=["pairs", "feedback"])
def test_every_field_moves(batch: Preferences | Feedback) -> None:
    moved = batch.to(torch.device("meta"))
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(moved)} == {"meta"}
    assert len(moved) == 5


def test_a_batch_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEMONSTRATIONS.rows = torch.zeros(5)  # type: ignore[misc]


def test_batches_count_themselves() -> None:
    """By hand. Demonstrations: rows of 2, 0 and 1 real tokens."""
    rows = [([0, 4, 5], [False, True, True]), ([0, 4, 5], [False] * 3), ([0, 4, 5], [False, False, True])]
    found = tiny.demonstrations(rows).counts()
    assert {name: int(count) for name, count in found.items()} == {"token": 3, "sequence": 2, "row": 2}
    # Comparisons: 2 + 1 and 1 + 0 real tokens: the second has one response alone and does not count as a row.
    pairs = tiny.preferences([[rows[0], rows[2]], [rows[2], rows[1]]])
    found = pairs.counts()
    assert {name: int(count) for name, count in found.items()} == {"token": 4, "sequence": 3, "row": 1, "chosen": 2}
    # Feedback: the rows' own responses count, and the mismatched ones do not.
    labels = Feedback(pairs.tokens, pairs.mask, pairs.lengths, pairs.rows, torch.tensor([True, False]))
    found = labels.counts()
    assert {name: int(count) for name, count in found.items()} == {
        "token": 4,
        "sequence": 3,
        "row": 2,
        "chosen": 3,
        "desirable": 1,
        "undesirable": 1,
    }


def test_the_constant_of_episodes_is_what_completions_could_have_at_most() -> None:
    """Two completions with a token, of at most 7: 14, however long they are; parts add up to it."""
    mask = torch.tensor([[False, True, True], [False, True, False], [False, False, False]])
    zeros, limit = torch.zeros(3, 3), torch.tensor(7)
    whole = Episodes(zeros.long(), mask, mask.sum(1), torch.arange(3), zeros, zeros, zeros, zeros, limit)
    assert int(whole.counts()["constant"]) == 14
    parts = [whole.select(slice(0, 1)), whole.select(slice(1, 3))]
    assert sum(int(part.counts()["constant"]) for part in parts) == 14
    assert whole.select(torch.tensor([1])).limit == 7


def test_runs_are_counted_apart() -> None:
    """Two runs: 3 steps in 2 rows, and 1 step in 1 row."""
    mask = torch.tensor([[[True, True], [True, False]], [[True, False], [False, False]]])
    zeros = torch.zeros(2, 2, 2)
    steps = {"mask": mask, "lengths": mask.sum(-1), "rows": torch.arange(2)}
    batch = acted(
        torch.zeros(2, 2, 3, 1),
        zeros.long(),
        torch.arange(2),
        **steps,
        old_logprobs=zeros,
        rewards=zeros,
        discounts=zeros,
    )
    assert {name: count.tolist() for name, count in batch.counts().items()} == {
        "token": [3, 1],
        "sequence": [2, 1],
        "row": [2, 1],
    }


def test_what_is_prepared_is_selected_with_its_batch() -> None:
    pairs = complete_preferences()
    prepared = PreparedPreferences(pairs, torch.arange(1.0 * pairs.mask.numel()).view(pairs.mask.shape))
    chosen = prepared.select(torch.tensor([3, 1]))
    assert torch.equal(chosen.batch.tokens, pairs.tokens[[3, 1]])
    assert torch.equal(chosen.ref_logprobs, prepared.ref_logprobs[[3, 1]])  # type: ignore[arg-type, index]
    assert (len(chosen), chosen.rows.tolist()) == (2, [3, 1])
    assert torch.equal(chosen.mask, chosen.batch.mask)
    assert torch.equal(chosen.lengths, chosen.batch.lengths)
    assert chosen.counts().keys() == pairs.counts().keys()
    moved = prepared.to("meta")
    assert {moved.batch.tokens.device.type, moved.ref_logprobs.device.type} == {"meta"}  # type: ignore[union-attr]
    assert PreparedPreferences(pairs).select(slice(0, 1)).ref_logprobs is None
