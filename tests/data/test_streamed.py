"""Streamed data: every row once per pass, windows, resumption anywhere, errors with the data's row numbers."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset

from burnish.data import tokenise
from burnish.data.streamed import Stream, Streamed, numbered, windows
from burnish.data.tokenised import Tokenised
from burnish.data.walk import ReadError
from burnish.run import UserError

TOKENIZER = tiny.make_tokenizer()
READERS = {"text": tokenise.demonstrations, "chosen": tokenise.preferences}


def make(rows: list[dict[str, Any]], size: int = 5, name: str = "a", longest: int = 40) -> Stream:
    def tokenised(dataset: Dataset, first: bool) -> Tokenised:
        kind = "chosen" if "chosen" in dataset.column_names or "responses" in dataset.column_names else "text"
        return READERS[kind](dataset, TOKENIZER, longest, name)

    return Stream(name, lambda start: iter(rows[start:]), tokenised, size)


def streamed(*streams: Stream, weights: tuple[float, ...] = (), seed: int = 0, buffer: int = 3) -> Streamed:
    return Streamed(streams, weights, "data", seed, buffer)


def drawn(data: Streamed, count: int, size: int = 4, position: dict[str, float] | None = None) -> list[Any]:
    return list(islice(data.batches(size, position or {}), count))


def numbers(batches: list[Any]) -> list[int]:
    return [row for batch, _ in batches for row in batch.rows.tolist()]


@pytest.mark.parametrize("buffer", [1, 3, 5])
def test_a_pass_has_every_row_once_with_its_ids(buffer: int) -> None:
    rows = tiny.text_rows(12)
    whole = tokenise.demonstrations(Dataset.from_list(rows), TOKENIZER, 40, "a")
    found = drawn(streamed(make(rows), buffer=buffer), 6)
    assert sorted(numbers(found[:3])) == sorted(numbers(found[3:])) == list(range(12))
    assert (numbers(found) == list(range(12)) * 2) == (buffer == 1)
    for batch, _ in found:
        for i, row in enumerate(batch.rows.tolist()):
            own, length = whole.batch([row]), int(batch.lengths[i])
            assert batch.tokens[i, :length].tolist() == own.tokens[0].tolist()
            assert batch.mask[i, :length].tolist() == own.mask[0].tolist()
            assert not batch.mask[i, length:].any()


def test_rows_are_shuffled_within_windows() -> None:
    order = windows(10, 4, (0,))
    assert [sorted(order[start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert order != list(range(10))
    assert windows(10, 1, (0,)) == list(range(10))
    assert windows(10, 4, (1,)) != order
    rows = tiny.text_rows(12)
    one, other = (numbers(drawn(streamed(make(rows, 12), seed=seed, buffer=12), 6)) for seed in (0, 1))
    assert one[:12] != one[12:] != other[12:]  # another order in another pass, and of another seed


@pytest.mark.parametrize("start", range(9))
@pytest.mark.parametrize("mixed", [False, True])
def test_a_walk_goes_on_at_any_position(start: int, mixed: bool) -> None:
    """Two passes and more; with dropped rows, which give no row of a batch."""
    rows = tiny.text_rows(11)
    more = [{"prompt": row["text"], "completion": row["text"]} for row in tiny.text_rows(7, seed=3)]
    more[2] = {"prompt": "good film", "completion": " "}

    def data() -> Streamed:
        return streamed(make(rows), make(more, 3, "b"), weights=(0.5, 1.5)) if mixed else streamed(make(rows))

    whole_data, again_data = data(), data()
    whole = drawn(whole_data, 9)
    again = drawn(again_data, 9 - start, position=whole[start - 1][1] if start else {})
    for (batch, position), (other, there) in zip(whole[start:], again, strict=True):
        assert torch.equal(batch.tokens, other.tokens)
        assert torch.equal(batch.rows, other.rows)
        assert position == there
    assert whole_data.counts == again_data.counts
    assert whole_data.fingerprint == again_data.fingerprint


def test_parts_are_interleaved_by_weight() -> None:
    other = [{"prompt": "good", "completion": " film"}] * 5
    data = streamed(make(tiny.text_rows(9)), make(other, 4, "b"), weights=(3.0, 1.0))
    batches = drawn(data, 10)
    for batch, _ in batches:
        answers = (batch.mask.sum(1) == 2) & (batch.tokens[:, 1] == 3)  # "good": not trained; "film" and EOS are
        assert int(answers.sum()) == 1
    assert data.position["0/taken"] == 30


def test_counts_are_of_what_was_read() -> None:
    rows = [{"prompt": "good", "completion": " film"}] * 8
    rows[6] = {"prompt": "good", "completion": " film" * 99}
    data = streamed(make(rows, 4, longest=6), buffer=1)
    assert "4 of 4 rows used" in data.describe()
    assert data.describe().endswith("among the first 4 rows; streamed")
    drawn(data, 1)
    assert (data.counts["rows"], data.counts["truncated_responses"]) == (4, 0)
    drawn(data, 2)
    assert (data.counts["rows"], data.counts["truncated_responses"]) == (8, 1)
    assert data.describe_read().startswith(
        "read up to here: a (prompt + completion): 8 of 8 rows used, 1 prompts cut on the left, 1 responses cut"
    )
    drawn(data, 3)
    assert data.counts["rows"] == 12


def bad(number: int, row: dict[str, Any], **first: Any) -> Iterator[Any]:
    rows: list[dict[str, Any]] = [{"prompt": "good", "completion": " film"} | first for _ in range(12)]
    rows[number] = row
    return (batch for batch, _ in drawn(streamed(make(rows), buffer=1), 3))


def test_an_error_names_the_row_of_the_data() -> None:
    with pytest.raises(UserError, match=r"^a, row 1"):
        list(bad(1, {"prompt": "good", "completion": None}))
    with pytest.raises(ReadError, match=r"^a, row 7"):
        list(bad(7, {"prompt": "good", "completion": None}))
    with pytest.raises(ReadError, match=r"^a, row 11: contains an unpaired surrogate"):
        list(bad(11, {"prompt": "good", "completion": "\ud83d"}))
    with pytest.raises(ReadError, match=r"^a, row 8: has the column `note`, which none of the first 5 rows has"):
        list(bad(8, {"prompt": "good", "completion": " film", "note": 1}))
    assert len(list(bad(8, {"prompt": "good", "completion": " film"}, note=1))) == 3
    assert numbered("a, row 3, and row 4", "a", 10) == "a, row 13, and row 4"
    assert numbered("b, row 3", "a", 10) == "b, row 3"


def test_a_block_has_the_columns_of_the_first_one() -> None:
    """Without them the second block would have another format."""
    pairs = [row | {"score_chosen": 2.0, "score_rejected": 1.0} for row in tiny.pair_rows(5)] + tiny.pair_rows(5)
    found = drawn(streamed(make(pairs), buffer=1), 2)
    assert (found[0][0].margins.tolist(), found[1][0].margins) == ([1.0] * 4, None)
    start, scores = "\n\nHuman: good\n\nAssistant:", {"score_chosen": 2.0, "score_rejected": 1.0}
    dialogues = [{"chosen": f"{start} film", "rejected": f"{start} plot"} | scores] * 5
    plain = [{"chosen": "good film", "rejected": "good plot"} | scores] * 5
    sentence = (
        "a: the 5 rows from row 5 on are read as chosen + rejected + score_chosen + score_rejected, but the first "
    )
    with pytest.raises(ReadError) as caught:
        drawn(streamed(make(dialogues + plain)), 3)
    assert str(caught.value) == f"{sentence}rows as chosen + rejected; make their columns alike."


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(UserError, match="a has no rows"):
        make([])
    rated = [{"prompt": "good", "response": word, "rating": i} for i, word in enumerate([" film", " plot", " dull"])]

    def tokenised(dataset: Dataset, first: bool) -> Tokenised:
        return tokenise.preferences(dataset, TOKENIZER, 40, "a")

    with pytest.raises(UserError, match="a: the ratings of a prompt's responses may lie anywhere in the data"):
        Stream("a", lambda start: iter(rated[start:]), tokenised, 5)


def test_pairs_of_several_blocks_make_one_batch() -> None:
    rows = tiny.pair_rows(6)
    whole = tokenise.preferences(Dataset.from_list(rows), TOKENIZER, 40, "a")
    (batch, _), *_ = drawn(streamed(make(rows, 2), buffer=1), 1, size=5)
    assert batch.rows.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(batch.tokens, whole.batch(range(5)).tokens)
