"""Partners: no row is its own, each is used once, and prompts differ if possible."""

from collections import Counter
from itertools import product

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from burnish.data.partners import partners, with_partners


def test_every_small_case_is_a_derangement_with_the_fewest_equal_prompts():
    """Exhaustive for 2 to 6 rows of up to 4 prompts. With m rows of the commonest prompt, at most n − m of them can
    have a partner of another prompt, so max(0, 2m − n) cannot."""
    for count in range(2, 7):
        for prompts in product((b"a", b"b", b"c", b"d"), repeat=count):
            found = partners(prompts)
            assert sorted(found) == list(range(count))
            assert all(i != j for i, j in enumerate(found))
            equal = sum(prompts[i] == prompts[j] for i, j in enumerate(found))
            assert equal == max(0, 2 * max(Counter(prompts).values()) - count)


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g"]), min_size=2, max_size=60))
def test_any_number_of_rows(prompts):
    found = partners(prompts)
    assert sorted(found) == list(range(len(prompts)))
    assert all(i != j for i, j in enumerate(found))
    assert found == partners(list(prompts))


def test_one_row_has_no_partner():
    with pytest.raises(ValueError, match="at least two rows"):
        partners([b"a"])


def test_the_order_depends_on_prompts_and_not_on_rows():
    """Neighbours in a file are often of one kind; with a shift by place all of these would be neighbours."""
    prompts = [str(i).encode() for i in range(100)]
    assert sum(j == (i + 1) % 100 for i, j in enumerate(partners(prompts))) < 10


def test_the_partners_response_follows_the_rows_own_prompt():
    """Two rows of prompts [1, 5] and [1]: the second's response [7, 8, 2] is cut to the 4 ids that are allowed, and the
    first's, cut before, stays as it is. Its untrained part stays untrained."""
    rows = Dataset.from_dict(
        {
            "tokens": [[[1, 5, 6, 4]], [[1, 7, 8, 2]]],
            "mask": [[[False, False, False, True]], [[False, True, True, True]]],
            "start": [2, 1],
            "row": [3, 9],
            "desirable": [True, False],
        }
    )
    first, second = with_partners(rows, 4)
    assert [r.tokens for r in first.responses] == [[1, 5, 6, 4], [1, 5, 7, 8]]
    assert [r.mask for r in first.responses] == [[False, False, False, True], [False, False, True, True]]
    assert [r.tokens for r in second.responses] == [[1, 7, 8, 2], [1, 6, 4]]
    assert [r.mask for r in second.responses] == [[False, True, True, True], [False, False, True]]
    assert [(row.row, row.desirable, row.start) for row in (first, second)] == [(3, True, 2), (9, False, 1)]


def test_a_first_token_has_no_context_and_is_not_trained():
    rows = Dataset.from_dict(
        {
            "tokens": [[[5, 6]], [[3, 7, 8]]],
            "mask": [[[False, True]], [[False, True, True]]],
            "start": [0, 1],
            "row": [0, 1],
            "desirable": [True, False],
        }
    )
    first, _ = with_partners(rows, 4)
    assert first.responses[1].tokens == [7, 8]
    assert first.responses[1].mask == [False, True]
