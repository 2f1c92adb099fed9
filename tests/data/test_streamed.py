"""Streamed data: every row once per pass, windows, resumption anywhere, errors with the data's row numbers."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset

from burnish.data import streams, tokenise
from burnish.data.names import single
from burnish.data.streamed import Stream, Streamed, numbered, windows
from burnish.data.streams import Table
from burnish.data.tokenised import Tokenised
from burnish.data.walk import ReadError
from burnish.run import UserError

TOKENIZER = tiny.make_tokenizer()
READERS = {"text": tokenise.demonstrations, "chosen": tokenise.preferences, "label": tokenise.feedback}


def make(
    rows: list[dict[str, Any]], size: int = 5, name: str = "a", longest: int = 40, tokenizer: Any = TOKENIZER
) -> Stream:
    def tokenised(dataset: Dataset, known: str | None) -> Tokenised:
        kind = next((one for one in ("chosen", "label") if one in dataset.column_names), "text")
        return READERS[kind](dataset, tokenizer, longest, name, known=known)

    return Stream(name, Table(lambda start: iter(rows[start:]), length=len(rows)), tokenised, size)


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


def test_all_blocks_have_the_format_of_the_first_one() -> None:
    """The format follows from the first row, as where the data are read whole: alone, the second block would have
    another."""
    start = "\n\nHuman: good\n\nAssistant:"
    dialogues = [{"chosen": f"{start} film", "rejected": f"{start} plot"}] * 5
    plain = [{"chosen": "good film", "rejected": "good plot"}] * 5
    for rows in (plain + dialogues, dialogues[:4] + dialogues):
        whole = tokenise.preferences(Dataset.from_list(rows), TOKENIZER, 40, "a")
        for batch, _ in drawn(streamed(make(rows), buffer=1), len(rows) // 3, 3):
            assert torch.equal(batch.tokens, whole.batch(batch.rows).tokens)
            assert torch.equal(batch.mask, whole.batch(batch.rows).mask)
    with pytest.raises(ReadError, match=r"a, row 5.*Human"):
        drawn(streamed(make(dialogues + plain)), 3)


def test_margins_are_in_all_blocks_or_in_none() -> None:
    scores = {"score_chosen": 2.0, "score_rejected": 1.0}
    scored, bare = (
        [row | scores for row in tiny.pair_rows(5)],
        [row | dict.fromkeys(scores) for row in tiny.pair_rows(5)],
    )
    with pytest.raises(ReadError) as caught:
        drawn(streamed(make(scored + bare)), 3)
    assert str(caught.value) == (
        "a: the first rows have margins or scores, but the 5 rows from row 5 on have none; give all rows one."
    )
    with pytest.raises(
        ReadError, match="a: the 5 rows from row 5 on have margins or scores, but the first rows have no"
    ):
        drawn(streamed(make(bare + scored)), 3)


@pytest.mark.parametrize("kind", ["text", "chosen", "label"])
def test_a_block_without_a_usable_row_is_counted_and_passed_over(kind: str) -> None:
    """Rows 5 to 9 are a block of their own, and so is row 15, which no other feedback is there for."""
    asked = [{"role": "user", "content": "good"}]
    said, unsaid = ([{"role": "assistant", "content": "film", "train": train}] for train in (True, False))
    good, bare = ({"prompt": asked, "completion": answer} for answer in (said, unsaid))
    if kind == "chosen":
        good, bare = ({"prompt": asked, "chosen": said, "rejected": answer} for answer in (said, unsaid))
        good |= {"rejected": [said[0] | {"content": "dull"}]}
    rows = [good] * 5 + [bare] * 5 + [good] * 6
    if kind == "label":
        rows = [row | {"label": number % 2 == 0} for number, row in enumerate(rows)]
    data = streamed(make(rows, tokenizer=tiny.make_chat_tokenizer()), buffer=1)
    used = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14] + [15] * (kind != "label")
    found = drawn(data, len(used) + 1, size=1)
    assert numbers(found) == [*used, 0]
    first_pass = {key.removeprefix("0/counted/"): n for key, n in found[len(used) - 1][1].items()}
    assert (first_pass["rows"], first_pass["used"]) == (16 - (kind == "label"), len(used))
    assert first_pass["untrained"] == 5
    if kind == "label":
        assert data.counts["unpaired"] == 1
        assert "1 dropped because no other row is there to pair with" in data.describe_read()


def test_feedback_has_its_partners_in_its_block() -> None:
    """Both rows of each of 6 pairs, numbered as where the data are read whole; the mismatched response is another's of
    the block."""
    pairs = [{"prompt": f"{word} ", "chosen": "film", "rejected": "plot"} for word in ("good", "dull", "bad") * 2]

    def tokenised(dataset: Dataset, known: str | None) -> Tokenised:
        return tokenise.feedback(dataset, TOKENIZER, 40, "a", known=known)

    stream = Stream("a", Table(lambda start: iter(pairs[start:]), length=6), tokenised, 2)
    found = drawn(streamed(stream, buffer=1), 3)
    assert numbers(found) == list(range(12))
    assert [row for batch, _ in found for row in batch.desirable.tolist()] == [True, False] * 6
    whole = tokenise.feedback(Dataset.from_list(pairs), TOKENIZER, 40, "a")
    for batch, _ in found:
        assert torch.equal(batch.tokens[:, 0], whole.batch(batch.rows).tokens[:, 0])
    assert stream.length() == 12


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lines = [f'{{"text": "good {word}"}}\n' for word in ("film", "plot") * 6]
    file.write_text("".join(lines))
    table = streams.stream(single(str(file)))
    table.digest()

    def tokenised(dataset: Dataset, known: str | None) -> Tokenised:
        return tokenise.demonstrations(dataset, TOKENIZER, 40, str(file), known=known)

    walk = streamed(Stream(str(file), table, tokenised, 4)).batches(4, {})
    next(walk)
    os.utime(file, (0, 0))  # the same bytes at another time
    next(walk)
    file.write_text("".join([*lines[:-1], lines[-1].replace("plot", "film")]))  # of the same size
    with pytest.raises(ReadError, match=r"a\.jsonl was changed while it was being read; restore it"):
        next(walk)


def test_the_progress_is_that_of_the_blocks_read() -> None:
    turns = [[{"role": "user", "content": "good"}, {"role": "assistant", "content": "film"}] for _ in range(8)]
    turns[6][1]["train"] = False
    data = streamed(make([{"messages": talk} for talk in turns], 4, tokenizer=tiny.make_chat_tokenizer()), buffer=1)
    drawn(data, 1)
    assert data.progress == {"rows_read": 4, "rows_dropped": 0}
    drawn(data, 2)
    assert data.progress == {"rows_read": 12, "rows_dropped": 1}


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(UserError, match="a has no rows"):
        make([])
    rated = [{"prompt": "good", "response": word, "rating": i} for i, word in enumerate([" film", " plot", " dull"])]

    def tokenised(dataset: Dataset, known: str | None) -> Tokenised:
        return tokenise.preferences(dataset, TOKENIZER, 40, "a")

    with pytest.raises(UserError, match="a: the ratings of a prompt's responses may lie anywhere in the data"):
        Stream("a", Table(lambda start: iter(rated[start:])), tokenised, 5)


def test_pairs_of_several_blocks_make_one_batch() -> None:
    rows = tiny.pair_rows(6)
    whole = tokenise.preferences(Dataset.from_list(rows), TOKENIZER, 40, "a")
    (batch, _), *_ = drawn(streamed(make(rows, 2), buffer=1), 1, size=5)
    assert batch.rows.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(batch.tokens, whole.batch(range(5)).tokens)
