"""Packed rows: where every token lies, what it may see, and which rows share a prompt."""

import numpy as np
import pytest
import tiny
import torch

from burnish.policies.language.packing import (
    Block,
    Pack,
    balanced,
    blocks_of,
    call_cost,
    cheapest,
    laid_out,
    packs,
    prompt_lengths,
    rounded,
)

WIDTH = 16


def lay(rows: list[list[Block]], texts: list[list[int]]) -> Pack:
    """A pack in which everything behind the first token of a text is asked for."""
    width = max(map(len, texts))
    ids = np.array([text + [0] * (width - len(text)) for text in texts])
    chosen = np.array([[0 < column < len(text) for column in range(width)] for text in texts])
    return laid_out(rows, ids, chosen, torch.device("cpu"))


def seen_by_hand(pack: Pack) -> list[list[tuple[int, ...]]]:
    """For each token, the ids that it sees, its own last: a loop over all pairs of places."""
    out = []
    for line in range(len(pack.inputs)):
        for query in range(pack.inputs.shape[1]):
            keys = [
                key
                for key in range(pack.inputs.shape[1])
                if pack.visible(*(torch.tensor(i) for i in (line, query, key)))
                and pack.positions[line, key] <= pack.positions[line, query]
            ]
            out.append(tuple(pack.inputs[line, keys].tolist()))
    return out


def test_a_row_by_hand() -> None:
    """[1 2 | 3 4 9] and [1 2 | 5 9] share their prompt; [6 7 9] follows. The last token of a text is not read."""
    texts = [[1, 2, 3, 4, 9], [1, 2, 5, 9], [6, 7, 9]]
    pack = lay([[Block([0, 1], 2, [2, 1]), Block([2], 1, [1])]], texts)
    assert pack.inputs.tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert pack.positions.tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    assert seen_by_hand(pack) == [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (1, 2, 5), (6,), (6, 7)]
    # text 0: 2 behind 1, 3 behind 2, 4 behind 3, 9 behind 4; text 1: 2 behind 1, 5 behind 2, 9 behind 5; text 2
    assert pack.at[1].tolist() == [0, 1, 2, 3, 0, 1, 4, 5, 6]
    assert pack.targets.tolist() == [2, 3, 4, 9, 2, 5, 9, 7, 9]
    assert pack.rows.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert pack.columns.tolist() == [1, 2, 3, 4, 1, 2, 3, 1, 2]
    assert not pack.plain


def test_a_joined_pack_by_hand() -> None:
    """The rows 1 2 | 3 and 4 | 5 one behind the other; a mask has them one below the other."""
    ids = np.array([[1, 2, 3, 9], [4, 5, 6, 0]])
    chosen = np.array([[False, True, True, True], [False, True, True, False]])
    pack = laid_out([[Block([0], 2, [1])], [Block([1], 1, [1])]], ids, chosen, torch.device("cpu"), joined=True)
    assert pack.read(pack.inputs).tolist() == [[1, 2, 3, 4, 5]]
    assert pack.read(pack.positions).tolist() == [[0, 1, 2, 0, 1]]
    assert pack.sizes == (3, 2)
    assert [one.tolist() for one in pack.at] == [[0] * 5, [0, 1, 2, 3, 4]]
    assert pack.targets.tolist() == [2, 3, 9, 5, 6]
    assert seen_by_hand(pack) == [(1,), (1, 2), (1, 2, 3), (4,), (4, 5), (0,)]


def test_sizes_are_rounded_up_by_an_eighth_at_most() -> None:
    assert [rounded(size, 4) for size in (0, 1, 7, 8, 9, 17, 31, 33, 100)] == [0, 1, 7, 8, 10, 20, 32, 40, 112]
    assert rounded(1000, None) == 1000
    found = {rounded(size, 8) for size in range(256, 513)}
    assert found == {*range(256, 513, 32)}


def test_a_joined_pack_with_rounded_sizes_by_hand() -> None:
    """Rows of 5 and 9 tokens in steps of 2 are 6 and 12 wide; 18 in steps of 4 is 20, by a row of 2 more."""
    texts = [[*range(1, 7)], [*range(11, 21)]]
    ids = np.array([text + [0] * (10 - len(text)) for text in texts])
    chosen = np.array([[0 < column < len(text) for column in range(10)] for text in texts])
    rows = [[Block([0], 1, [4])], [Block([1], 1, [8])]]
    pack = laid_out(rows, ids, chosen, torch.device("cpu"), joined=True, steps=2)
    assert pack.sizes == (6, 12, 2)
    assert pack.read(pack.inputs).tolist() == [[1, 2, 3, 4, 5, 0, *range(11, 20), 0, 0, 0, 0, 0]]
    assert pack.at[1].tolist() == [0, 1, 2, 3, 4, *range(6, 15)]
    read = pack.read(pack.inputs)[0]
    assert [int(read[at]) + 1 for at in pack.at[1]] == pack.targets.tolist()  # the texts count up
    seen = seen_by_hand(pack)
    assert seen[:6] == [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4, 5), (0,) * 7]  # padding sees padding alone


def test_rows_of_equal_width_are_rounded_and_then_have_a_mask() -> None:
    """A plain pack has positions beyond the longest text, which a model may not have."""
    tokens, mask, lengths = tiny.pad_rows([([*range(3, 13)], [False] + [True] * 9) for _ in range(2)])
    starts = prompt_lengths(mask, lengths)
    (exact,) = packs(tokens + torch.tensor([[0], [1]]), mask, starts, 100, WIDTH)
    (wider,) = packs(tokens + torch.tensor([[0], [1]]), mask, starts, 100, WIDTH, steps=4)
    assert (exact.inputs.shape, exact.plain) == ((2, 9), True)
    assert (wider.inputs.shape, wider.plain) == ((2, 10), False)
    assert wider.positions.max() == 8


def test_packs_are_joined_where_padding_costs_more_than_calls() -> None:
    """Width 256: blocks of 300, 200 and 100 in two rows cost 2·300·(1 + 300/1024) = 776, joined 300·1.293 + 200·1.195 +
    100·1.098 = 737 and three calls of 200,000/256² = 3. Blocks of 100, 100 and 100 have no padding."""
    uneven, even = ([Block([i], 0, [n]) for i, n in enumerate(sizes)] for sizes in ((300, 200, 100), (100, 100, 100)))
    assert cheapest(uneven, 256, call_cost(False)) == ([[block] for block in uneven], True)
    assert not cheapest(uneven, 256)[1]
    assert not cheapest(even, 256, call_cost(False))[1]
    assert not cheapest(uneven, 16, call_cost(False))[1]  # three calls cost 2,344 tokens
    assert not cheapest(uneven, 256, call_cost(True))[1]  # in bfloat16 three calls cost 46


def test_padding_sees_padding_alone() -> None:
    """Attention over no key at all would be NaN."""
    pack = lay([[Block([0], 1, [2])], [Block([1], 1, [0])]], [[1, 2, 3, 9], [4, 9]])
    assert pack.inputs.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert seen_by_hand(pack)[3:] == [(4,), (0, 0), (0, 0)]
    assert pack.plain  # each row is one text, which a causal model reads without a mask


@pytest.mark.parametrize("limit", [1, 12, 30, 10_000])
@pytest.mark.parametrize("share", [False, True])
def test_every_chosen_token_is_read_once_behind_what_precedes_it(limit: int, share: bool) -> None:
    pairs = tiny.random_pairs(6, seed=2, group=3)
    rows = [row for group in pairs for row in group]
    tokens, mask, lengths = tiny.pad_rows(rows, filler=77)
    starts = prompt_lengths(mask, lengths) if share else torch.zeros_like(lengths)
    found = set()
    for pack in packs(tokens, mask, starts, limit, WIDTH):
        before = seen_by_hand(pack)
        for line, place, target, row, column in zip(
            *(x.tolist() for x in (*pack.at, pack.targets, pack.rows, pack.columns)), strict=True
        ):
            assert (row, column) not in found
            found.add((row, column))
            assert target == rows[row][0][column]
            assert before[line * pack.inputs.shape[1] + place] == tuple(rows[row][0][:column])
    assert found == {(i, t) for i, (_, mask_) in enumerate(rows) for t, chosen in enumerate(mask_) if chosen}


def test_packs_keep_to_the_limit() -> None:
    rows = [([5 + i] * n, [False] + [True] * (n - 1)) for i, n in enumerate((31, 9, 3, 8, 5, 12))]
    tokens, mask, lengths = tiny.pad_rows(rows)
    sizes = [int((pack.parts >= 0).sum()) for pack in packs(tokens, mask, prompt_lengths(mask, lengths), 20, WIDTH)]
    assert sizes == [30, 11 + 8, 7 + 4 + 2]  # the longest row is over the limit, and alone


def test_rows_of_one_prompt_share_it_and_others_do_not() -> None:
    ids = np.array([[1, 2, 3, 4], [1, 2, 5, 6], [1, 9, 5, 6], [1, 2, 7, 0]])
    blocks = list(blocks_of(ids, np.array([3, 3, 3, 2]), np.array([2, 2, 2, 2]), WIDTH, 100))
    assert blocks == [Block([0, 1, 3], 2, [1, 1, 0]), Block([2], 2, [1])]


def test_as_many_responses_share_a_prompt_as_pay() -> None:
    """√(p·(p + 4·width)) / r with p = 20, width = 16, r = 10 is √(20·84)/10 = 4.1: ten responses as 4, 4 and 2."""
    ids = np.arange(30)[None].repeat(10, 0)
    blocks = list(blocks_of(ids, np.full(10, 30), np.full(10, 20), WIDTH, 10_000))
    assert [len(block.rows) for block in blocks] == [4, 4, 2]
    blocks = list(blocks_of(ids, np.full(10, 30), np.full(10, 20), WIDTH, 40))  # at most 40 tokens: 20 + 2·10
    assert [len(block.rows) for block in blocks] == [2] * 5
    # a prompt of one token is not worth the attention between the responses
    assert all(len(b.rows) == 1 for b in blocks_of(ids, np.full(10, 30), np.full(10, 1), WIDTH, 10_000))


def test_blocks_are_balanced_over_rows() -> None:
    """6 5 4 3 2 1 in three rows: 6+1, 5+2, 4+3."""
    blocks = [Block([i], 0, [n]) for i, n in enumerate((6, 5, 4, 3, 2, 1))]
    assert [[b.size for b in row] for row in balanced(blocks, 3)] == [[6, 1], [5, 2], [4, 3]]


def test_the_rows_are_the_cheapest_that_were_tried() -> None:
    """Blocks of 9, 1, 1, 1: one row of 12 costs 12·(1 + 12/64) = 14.25; two of 9 cost 18·(1 + 9/64) = 20.5."""
    blocks = [Block([i], 0, [n]) for i, n in enumerate((9, 1, 1, 1))]
    assert len(cheapest(blocks, WIDTH)[0]) == 1
    # with a width of 1, attention is all that counts: 12·(1 + 12/4) = 48 beside 2·9·(1 + 9/4) = 58.5
    assert len(cheapest([Block([i], 0, [4]) for i in range(4)], 1)[0]) == 4


def test_the_prompt_is_what_stands_before_the_first_chosen_token() -> None:
    mask = torch.tensor([[False, False, True, False, True], [False] * 5])
    assert prompt_lengths(mask, torch.tensor([5, 4])).tolist() == [2, 4]


def test_a_first_token_has_nothing_before_it() -> None:
    with pytest.raises(ValueError, match="the first token of a row"):
        packs(torch.zeros(1, 2, dtype=torch.long), torch.tensor([[True, False]]), torch.tensor([1]), 10, WIDTH)


def test_rows_in_which_nothing_is_chosen_are_left_out() -> None:
    assert packs(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3).bool(), torch.tensor([3, 3]), 10, WIDTH) == []
