"""Partners: no row is its own, each is used once, and prompts differ if possible."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data.encode import Encoder
from burnish.data.fit import fit
from burnish.data.formats import Example
from burnish.data.partners import partners, with_partners
from burnish.data.tokenised import Row, collect

from .tokenizers_on_the_spot import make


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


def mixed(first: Example, second: Example, max_length: int, **tokenizer: object) -> list[Row]:
    """The rows of two examples, each with the other's response."""
    encoder, examples = Encoder.of(make(**tokenizer)), [first, second]
    rows = [
        Row(one.example.row, one.responses, desirable=one.example.row == 3, start=one.start, cut=one.cut_prompt)
        for one in fit(examples, encoder, max_length, "f")
    ]
    dataset, _, _ = collect([rows], "feedback")
    return list(with_partners(dataset, {one.row: one for one in examples}, encoder, max_length, "f"))


def test_the_partners_response_follows_the_rows_own_prompt():
    """The prompts "xy" and "z", and 5 ids at most: the second's response "abc" is cut behind BOS x y. Its own z is cut
    to make room for "abc", so it is cut before its partner, too."""
    first, second = mixed(Example(3, "xy", ("d",)), Example(9, "z", ("abc",)), 5)
    assert [r.tokens for r in first.responses] == [[256, 120, 121, 100, 257], [256, 120, 121, 97, 98]]
    assert [r.mask for r in first.responses] == [[False] * 3 + [True] * 2] * 2
    assert [r.tokens for r in second.responses] == [[256, 97, 98, 99, 257], [256, 100, 257]]
    assert [r.mask for r in second.responses] == [[False] + [True] * 4, [False] + [True] * 2]
    assert [(row.row, row.desirable, row.start) for row in (first, second)] == [(3, True, 3), (9, False, 1)]


def test_the_rows_own_cut_is_the_partners():
    """Of "wxyz" and "d" with BOS and EOS, 5 ids are y z d: two of the prompt are cut, also before the partner."""
    first, _ = mixed(Example(0, "wxyz", ("d",)), Example(1, "", ("ab",)), 5)
    assert [r.tokens for r in first.responses] == [[256, 121, 122, 100, 257], [256, 121, 122, 97, 98]]


def test_prompt_and_partner_are_tokenised_as_one_text():
    """With the merge a + b = 256 the prompt "xa" is x a before its own "c", and x ab before the partner's "b"."""
    first, _ = mixed(Example(0, "xa", ("c",)), Example(1, "y", ("b",)), 9, bos=None, pad=None, merges=(("a", "b"),))
    assert [r.tokens for r in first.responses] == [[120, 97, 99, 257], [120, 256, 257]]
    assert first.responses[1].mask == [False, True, True]


def test_a_first_token_has_no_context_and_is_not_trained():
    first, _ = mixed(Example(0, "", ("cd",)), Example(1, "x", ("ef",)), 4, bos=None)
    assert first.responses[1].tokens == [101, 102, 256]
    assert first.responses[1].mask == [False, True, True]
