"""Buckets: every chosen token exactly once, with the ids before it, within the limit."""

import pytest
import tiny
import torch

from burnish.policies.language.layout import behind_the_end, buckets, completions_batch


@pytest.mark.parametrize("limit", [1, 12, 30, 10_000])
def test_every_chosen_token_is_in_one_bucket_behind_what_precedes_it(limit: int) -> None:
    rows = tiny.random_rows(11, seed=2)
    tokens, mask, _ = tiny.pad_rows(rows, filler=77)
    found = set()
    for bucket in buckets(tokens, mask, limit):
        assert bucket.inputs.numel() <= limit or len(bucket.inputs) == 1
        where = bucket.chosen.nonzero().tolist()
        assert len(where) == len(bucket.targets)
        for (_, place), target, row, column in zip(
            where, bucket.targets.tolist(), bucket.rows.tolist(), bucket.columns.tolist(), strict=True
        ):
            assert column == place + 1
            assert target == rows[row][0][column]
            assert (row, column) not in found
            found.add((row, column))
        for line, chosen in zip(bucket.inputs.tolist(), bucket.chosen.tolist(), strict=True):
            read = line[: max(i for i, c in enumerate(chosen) if c) + 1]
            assert any(read == ids[: len(read)] for ids, _ in rows)
    expected = {(i, t) for i, (_, mask_) in enumerate(rows) for t, chosen in enumerate(mask_) if chosen}
    assert found == expected


def test_nothing_after_the_last_chosen_token_is_read() -> None:
    """[a b c d] with only c chosen: the model reads a b."""
    mask = torch.tensor([[False, False, True, False]])
    (bucket,) = buckets(torch.tensor([[10, 11, 12, 13]]), mask, 100)
    assert bucket.inputs.tolist() == [[10, 11]]
    assert bucket.chosen.tolist() == [[False, True]]
    assert (bucket.targets.tolist(), bucket.rows.tolist(), bucket.columns.tolist()) == ([12], [0], [2])


def test_the_last_chosen_token_is_read_where_it_is_asked_for() -> None:
    """[a b c d] with only c chosen: the model reads a b c, and predicts nothing from c."""
    mask = torch.tensor([[False, False, True, False]])
    (bucket,) = buckets(torch.tensor([[10, 11, 12, 13]]), mask, 100, last_too=True)
    assert bucket.inputs.tolist() == [[10, 11, 12]]
    assert bucket.chosen.tolist() == [[False, True, False]]
    assert (bucket.targets.tolist(), bucket.rows.tolist(), bucket.columns.tolist()) == ([12], [0], [2])


def test_rows_of_similar_length_lie_together() -> None:
    """Lengths 2, 9, 3, 8 at a limit of 18 tokens: the two long ones, then the two short ones."""
    rows = [([0] * n, [False] * (n - 1) + [True]) for n in (2, 9, 3, 8)]
    tokens, mask, _ = tiny.pad_rows(rows)
    assert [b.inputs.shape for b in buckets(tokens, mask, 18)] == [(2, 8), (2, 2)]


def test_rows_of_different_kinds_lie_apart_and_are_read_whole() -> None:
    """Lengths 2, 9, 3, 8 of kinds 0, 2, 0, 1: three buckets; a row without a chosen token is in none of them."""
    rows = [([10 + n] * n, [False, True] + [False] * (n - 2)) for n in (2, 9, 3, 8)]
    tokens, mask, lengths = tiny.pad_rows([*rows, ([5] * 9, [False] * 9)])
    parts = buckets(tokens, mask, 1000, lengths=lengths, kinds=torch.tensor([0, 2, 0, 1, 2]))
    assert [part.inputs.tolist() for part in parts] == [[[19] * 9], [[18] * 8], [[13] * 3, [12, 12, 0]]]
    assert [part.rows.tolist() for part in parts] == [[1], [3], [2, 0]]
    assert [part.columns.tolist() for part in parts] == [[1], [1], [1, 1]]
    assert all(part.chosen.shape == part.inputs.shape for part in parts)
    small = buckets(tokens, mask, 3, lengths=lengths, kinds=torch.zeros(5, dtype=torch.long))
    assert [tuple(part.inputs.shape) for part in small] == [(1, 9), (1, 8), (1, 3), (1, 2)]


def test_rows_without_a_chosen_token_are_left_out_and_none_at_all_is_no_bucket() -> None:
    tokens, nothing = torch.zeros(3, 4, dtype=torch.long), torch.zeros(3, 4, dtype=torch.bool)
    assert buckets(tokens, nothing, 10) == []
    assert buckets(tokens[:0], nothing[:0], 10) == []
    one = nothing.clone()
    one[1, 2] = True
    (bucket,) = buckets(tokens, one, 10)
    assert bucket.rows.tolist() == [1]


def test_a_chosen_first_token_is_refused() -> None:
    with pytest.raises(ValueError, match="first token"):
        buckets(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[True, False, False]]), 10)


def test_behind_the_end_every_token_of_a_text_is_read_and_nothing_more() -> None:
    """Texts of 1, 3 and 2 tokens in 4 columns; 9 is padding, and the column added is never read."""
    tokens = torch.tensor([[4, 9, 9, 9], [5, 6, 7, 9], [8, 3, 9, 9]])
    longer, mask = behind_the_end(tokens, torch.tensor([1, 3, 2]))
    (bucket,) = buckets(longer, mask, 100)
    assert bucket.inputs.tolist() == [[5, 6, 7], [8, 3, 9], [4, 9, 9]]
    assert bucket.chosen.int().tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert (bucket.rows.tolist(), bucket.columns.tolist()) == ([1, 2, 0], [3, 2, 1])


def test_a_text_that_fills_its_row_ends_behind_it_and_an_empty_one_nowhere() -> None:
    longer, mask = behind_the_end(torch.tensor([[4, 5]]), torch.tensor([2]))
    assert longer.shape == (1, 3)
    assert mask.tolist() == [[False, False, True]]
    longer, mask = behind_the_end(torch.tensor([[4, 5], [4, 5]]), torch.tensor([0, 2]))
    assert mask.tolist() == [[False] * 3, [False, False, True]]
    assert [bucket.rows.tolist() for bucket in buckets(longer, mask, 100)] == [[1]]


def test_prompts_and_completions_make_a_batch() -> None:
    batch = completions_batch([[0, 5], [0]], [[7, 1], [8, 9, 4, 1]])
    assert batch.tokens.tolist() == [[0, 5, 7, 1, 0], [0, 8, 9, 4, 1]]
    assert batch.mask.tolist() == [[False, False, True, True, False], [False, True, True, True, True]]
    assert batch.lengths.tolist() == [4, 5]
    assert batch.rows.tolist() == [0, 1]
