"""Batches: padding, row numbers, shapes for pairs and larger groups, the fingerprint, the line for the terminal."""

import hashlib
import struct

import pytest
import torch

from burnish.batches import Demonstrations, Feedback, Preferences
from burnish.data.tokenised import Response, Row, Tokenised, collect


def tokenised(rows, kind, batch_size=1000) -> Tokenised:
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    dataset, counts, fingerprint = collect(batches, kind)
    told = {"rows": len(rows), "used": len(rows), **counts}
    return Tokenised(dataset, told, fingerprint, "f.jsonl", ("text",), kind)


SINGLES = [
    Row(0, [Response([1, 5], [False, True])]),
    Row(2, [Response([1, 6, 7, 2], [False, False, True, True])]),
    Row(3, [Response([1, 8, 2], [False, True, True])]),
]
GROUPS = [
    Row(4, [Response([1, 5], [False, True]), Response([1, 6, 2], [False, True, True]), Response([1], [False])]),
    Row(9, [Response([3, 4], [True, True]), Response([3], [True]), Response([3, 4, 5, 6], [True] * 4)]),
]


@pytest.mark.parametrize("indices", [[2, 0, 2], torch.tensor([2, 0, 2])])
def test_a_batch_is_padded_on_the_right_with_zeros(indices):
    batch = tokenised(SINGLES, kind="demonstrations").batch(indices)
    assert isinstance(batch, Demonstrations)
    assert batch.tokens.tolist() == [[1, 8, 2], [1, 5, 0], [1, 8, 2]]
    assert batch.mask.tolist() == [[False, True, True], [False, True, False], [False, True, True]]
    assert batch.lengths.tolist() == [3, 2, 3]
    assert batch.rows.tolist() == [3, 0, 3]
    assert (batch.tokens.dtype, batch.mask.dtype, batch.rows.dtype) == (torch.int64, torch.bool, torch.int64)


def test_a_group_may_be_larger_than_a_pair():
    batch = tokenised(GROUPS, kind="preferences").batch([1, 0])
    assert isinstance(batch, Preferences)
    assert batch.tokens.tolist() == [
        [[3, 4, 0, 0], [3, 0, 0, 0], [3, 4, 5, 6]],
        [[1, 5, 0, 0], [1, 6, 2, 0], [1, 0, 0, 0]],
    ]
    assert batch.lengths.tolist() == [[2, 1, 4], [2, 3, 1]]
    assert batch.mask.sum(-1).tolist() == [[2, 1, 4], [1, 2, 0]]
    assert batch.rows.tolist() == [9, 4]
    assert batch.margins is None
    assert batch.confidences is None


@pytest.mark.parametrize(
    ("rows", "kind", "lengths"), [(SINGLES, "demonstrations", None), (GROUPS, "preferences", (3, 4))]
)
def test_rows_are_as_long_as_their_longest_text(rows, kind, lengths):
    data = tokenised(rows, kind=kind)
    plan = data.by_length(2).plan
    assert plan.lengths == (lengths or tuple(data.batch([i]).lengths.item() for i in range(len(data))))
    assert plan.batch_size == 2
    assert len(plan) == len(data)


def pair(row, **said):
    return Row(row, [Response([1, 5], [False, True]), Response([1, 6, 2], [False, True, True])], **said)


def test_margins_and_confidences_go_with_their_rows():
    rows = [
        pair(0, margin=1.5, confidence=0.75),
        pair(1, margin=-2.0, confidence=1.0),
        pair(2, margin=0.0, confidence=0.0),
    ]
    batch = tokenised(rows, "preferences").batch([2, 0])
    assert (batch.margins.tolist(), batch.confidences.tolist()) == ([0.0, 1.5], [0.0, 0.75])
    assert batch.margins.dtype == batch.confidences.dtype == torch.float32
    batch = tokenised([pair(0, confidence=0.75)], "preferences").batch([0])
    assert (batch.margins, batch.confidences.tolist()) == (None, [0.75])
    assert tokenised([pair(0)], "preferences").batch([0]).confidences is None


def test_feedback_knows_which_responses_are_desirable():
    data = tokenised([pair(4, desirable=True, start=1), pair(7, desirable=False, start=1)], "feedback")
    batch = data.batch([1, 0, 1])
    assert isinstance(batch, Feedback)
    assert batch.desirable.tolist() == [False, True, False]
    assert batch.desirable.dtype == torch.bool
    assert batch.rows.tolist() == [7, 4, 7]
    assert batch.tokens[0].tolist() == [[1, 5, 0], [1, 6, 2]]
    assert batch.lengths[0].tolist() == [2, 3]
    assert data.dataset["start"][:] == [1, 1]


def test_a_ranking_with_fewer_answers_is_filled_with_empty_ones():
    """Three, two and three answers; a batch of the short one alone has two places."""
    two = Row(5, [Response([3, 4], [False, True]), Response([3, 9, 9, 9, 2], [False] + [True] * 4)])
    data = tokenised([GROUPS[0], two, GROUPS[1]], "preferences")
    batch = data.batch([1, 0])
    assert batch.tokens.shape == (2, 3, 5)
    assert batch.lengths.tolist() == [[2, 5, 0], [2, 3, 1]]
    assert batch.tokens[0].tolist() == [[3, 4, 0, 0, 0], [3, 9, 9, 9, 2], [0] * 5]
    assert not batch.mask[0, 2].any()
    assert batch.tokens[1, :, :3].tolist() == [[1, 5, 0], [1, 6, 2], [1, 0, 0]]
    assert data.batch([1]).tokens.shape == (1, 2, 5)
    assert data.largest_group == 3


def test_columns_are_as_documented():
    assert tokenised(SINGLES, kind="demonstrations").dataset[1] == {
        "tokens": [1, 6, 7, 2],
        "mask": [False, False, True, True],
        "row": 2,
    }
    assert tokenised(GROUPS, kind="preferences").dataset[0] == {
        "tokens": [[1, 5], [1, 6, 2], [1]],
        "mask": [[False, True], [False, True, True], [False]],
        "row": 4,
    }


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_batch_size_of_tokenisation_does_not_matter(batch_size):
    whole, cut = tokenised(SINGLES, "demonstrations"), tokenised(SINGLES, "demonstrations", batch_size)
    assert cut.fingerprint == whole.fingerprint
    assert cut.counts == whole.counts
    assert cut.batch([2, 0, 1]).tokens.equal(whole.batch([2, 0, 1]).tokens)


def test_the_fingerprint_changes_with_ids_masks_lengths_order_and_kind():
    def of(*responses, kind="demonstrations"):
        return tokenised([Row(k, [response]) for k, response in enumerate(responses)], kind).fingerprint

    a, b = Response([1, 2], [False, True]), Response([3], [True])
    others = [
        of(b, a),
        of(a),
        of(Response([1, 9], [False, True]), b),
        of(Response([1, 2], [True, True]), b),
        of(Response([1], [False]), Response([2, 3], [True, True])),
        of(a, b, kind="preferences"),
    ]
    assert len({of(a, b), *others}) == 7
    assert of(a, b) == of(a, b)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def streams(ids, mask, lengths):
    return [sha(struct.pack(f"<{len(v)}{c}", *v)) for v, c in ((ids, "i"), (mask, "B"), (lengths, "q"))]


def test_the_fingerprint_of_plain_rows_never_changes():
    """The reference's log-probabilities are kept under it: SHA-256 over the kind and over a SHA-256 each of the ids as
    int32, the mask as bytes and the lengths as int64."""
    (row,) = tokenised([pair(0)], "preferences").dataset
    assert row["tokens"] == [[1, 5], [1, 6, 2]]
    told = streams([1, 5, 1, 6, 2], [0, 1, 0, 1, 1], [2, 3])
    assert tokenised([pair(0)], "preferences").fingerprint == sha(b"comparisons", *told).hex()
    told = streams([1, 5], [0, 1], [2])
    single = tokenised([Row(0, [Response([1, 5], [False, True])])], "demonstrations")
    assert single.fingerprint == sha(b"demonstrations", *told).hex()


def test_the_fingerprint_changes_with_labels():
    said = [
        {},
        {"margin": 0.0},
        {"margin": 1.0},
        {"confidence": 0.0},
        {"confidence": 1.0},
        {"margin": 1.0, "confidence": 1.0},
    ]
    prints = [tokenised([pair(0, **one)], "preferences").fingerprint for one in said]
    prints += [tokenised([pair(0, desirable=good)], "feedback").fingerprint for good in (True, False)]
    assert len(set(prints)) == 8


def test_the_fingerprint_changes_with_where_rows_end():
    """Five answers as rows of two and three, or three and two."""
    answers = [*GROUPS[0].responses, *GROUPS[1].responses[:2]]
    first, second = (
        tokenised([Row(0, answers[:cut]), Row(1, answers[cut:])], "preferences").fingerprint for cut in (2, 3)
    )
    assert first != second


def test_an_empty_batch_is_an_error():
    with pytest.raises(ValueError, match="at least one row"):
        tokenised(SINGLES, kind="demonstrations").batch([])


def test_the_line_for_the_terminal_has_all_counts():
    data = tokenised(SINGLES, kind="demonstrations")
    assert data.describe() == "f.jsonl (text): 3 of 3 rows used, 9 tokens, 5 of them trained"
    data.counts.update(
        rows=1003,
        dropped=1000,
        formatting_only=5,
        ties=6,
        alone=7,
        between=8,
        truncated_prompts=1,
        truncated_responses=2,
        equal=3,
        long_prompts=4,
    )
    assert data.describe() == (
        "f.jsonl (text): 3 of 1,003 rows used, 1,000 dropped because no response token is left, 5 dropped because "
        "only formatting tokens are left, 6 prompts skipped because their ratings are equal, 7 prompts skipped because "
        "they have one response, 8 responses skipped that are neither best nor worst, 1 prompts cut on the left, "
        "2 responses cut on the right, 4 with a prompt longer than the limit, 3 with equal responses, 9 tokens, 5 of "
        "them trained"
    )


def test_the_largest_token_is_found_with_its_row():
    assert tokenised(SINGLES, kind="demonstrations", batch_size=2).largest_token == (8, 3)
    assert tokenised(GROUPS, kind="preferences").largest_token == (6, 4)  # where it occurs first
    assert tokenised(GROUPS[1:], kind="preferences").largest_token == (6, 9)
