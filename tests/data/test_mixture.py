"""Several tokenised data sets as one: rows, numbers, labels, counts."""

import tiny
import torch
from datasets import Dataset

from burnish.batches import Feedback, Preferences
from burnish.data import tokenise
from burnish.data.mixture import combined, combined_prompts, first_rows, read_all_prompts
from burnish.data.prompts import read_prompts
from burnish.data.tokenised import Tokenised

TOKENIZER = tiny.make_tokenizer()


def texts(count: int, name: str, seed: int = 0) -> Tokenised:
    return tokenise.demonstrations(Dataset.from_list(tiny.text_rows(count, seed)), TOKENIZER, 40, name)


def pairs(count: int, name: str, seed: int = 0, **columns: object) -> Tokenised:
    rows = [row | columns for row in tiny.pair_rows(count, seed)]
    return tokenise.preferences(Dataset.from_list(rows), TOKENIZER, 40, name)


def test_a_batch_may_have_rows_of_every_part() -> None:
    parts = [texts(3, "a"), texts(4, "b", seed=1)]
    found = combined(parts, [], "a,b")
    assert len(found) == 7
    batch = found.batch([5, 1])
    assert batch.rows.tolist() == [5, 1]
    for i, one in enumerate((parts[1].batch([2]), parts[0].batch([1]))):
        length = int(one.lengths[0])
        assert int(batch.lengths[i]) == length
        assert batch.tokens[i, :length].tolist() == one.tokens[0].tolist()
        assert batch.mask[i, :length].tolist() == one.mask[0].tolist()


def test_parts_may_have_formats_of_their_own() -> None:
    first = tokenise.demonstrations(
        Dataset.from_list([{"prompt": "good", "completion": " film"}]), TOKENIZER, 40, "answers"
    )
    found = combined([first, texts(2, "texts")], [0.5, 0.5], "answers:0.5,texts:0.5")
    assert found.columns == ("prompt", "completion", "text")
    assert found.batch([0]).mask.sum() < found.batch([0]).lengths.sum() - 1  # a prompt is not trained


def test_rows_are_numbered_through() -> None:
    """The last row of the first part is too long to be used, and keeps its number."""
    long = [*tiny.text_rows(2), {"prompt": "good", "completion": ""}]
    dropped = Dataset.from_list([{"prompt": "a", "completion": row.get("text", "x")} for row in long])
    first = tokenise.demonstrations(dropped, TOKENIZER, 40, "a")
    found = combined([first, texts(2, "b"), texts(1, "c")], [], "a,b,c")
    assert first.counts["rows"] == 3
    assert found.dataset["row"][:] == [*first.dataset["row"][:], 3, 4, 5]
    assert first_rows([3, 2, 4]) == [0, 3, 5]


def test_counts_add_up_and_each_part_is_described() -> None:
    parts = [texts(10, "a"), texts(20, "b", seed=1)]
    found = combined(parts, [0.7, 0.3], "a:0.7,b:0.3")
    for key in ("rows", "used", "tokens", "trained_tokens"):
        assert found.counts[key] == parts[0].counts[key] + parts[1].counts[key]
    assert found.describe().splitlines() == [
        f"{parts[0].describe()}, numbered from 0",
        f"{parts[1].describe()}, numbered from 10",
        "mixture, interleaved: 14 rows per epoch, 10 of 10 from a, 4 of 20 from b",
    ]
    assert combined(parts, [], "a,b").describe().splitlines()[-1] == (
        "mixture, concatenated: 30 rows per epoch, 10 of 10 from a, 20 of 20 from b"
    )
    assert combined(parts[:1], [], "a") is parts[0]


def test_the_fingerprint_is_of_parts_and_weights() -> None:
    a, b = texts(4, "a"), texts(4, "b", seed=1)
    found = [
        combined([a, b], [], "x").fingerprint,
        combined([b, a], [], "x").fingerprint,
        combined([a, b], [0.5, 0.5], "x").fingerprint,
        combined([a, b], [0.6, 0.4], "x").fingerprint,
        combined([a, a], [], "x").fingerprint,
    ]
    assert len(set(found)) == 5
    assert combined([texts(4, "c"), b], [], "y").fingerprint == found[0]


def test_a_missing_confidence_is_1_and_margins_are_kept_if_all_have_them() -> None:
    parts = [pairs(2, "a", confidence=0.8, margin=2.0), pairs(1, "b", margin=3.0)]
    batch = combined(parts, [], "a,b").batch([0, 1, 2])
    assert isinstance(batch, Preferences)
    assert batch.confidences is not None
    assert torch.equal(batch.confidences, torch.tensor([0.8, 0.8, 1.0]))
    assert batch.margins is not None
    assert batch.margins.tolist() == [2.0, 2.0, 3.0]
    batch = combined([*parts, pairs(1, "c")], [], "a,b,c").batch([0, 3])
    assert isinstance(batch, Preferences)
    assert batch.margins is None


def test_pairs_and_rankings_make_one_batch() -> None:
    ranked = [{"prompt": "good", "responses": [" film", " plot", " dull"]}]
    other = tokenise.preferences(Dataset.from_list(ranked), TOKENIZER, 40, "r")
    found = combined([pairs(2, "a"), other], [], "a,r")
    assert found.largest_group == 3
    assert found.batch([0, 2]).tokens.shape[:2] == (2, 3)


def test_feedback_keeps_its_labels_and_partners() -> None:
    parts = [tokenise.feedback(Dataset.from_list(tiny.pair_rows(2, seed)), TOKENIZER, 40, "f") for seed in (0, 1)]
    found = combined(parts, [0.5, 0.5], "f:1,f:1")
    batch, alone = found.batch([0, 5]), parts[1].batch([1])
    assert isinstance(batch, Feedback)
    assert isinstance(alone, Feedback)
    assert batch.desirable.tolist() == [True, False]
    assert batch.rows.tolist() == [0, 5]
    width = alone.tokens.shape[-1]
    assert batch.tokens[1, :, :width].tolist() == alone.tokens[0].tolist()


def test_prompts_keep_their_columns() -> None:
    first = Dataset.from_list([{"prompt": "good", "answer": 1}, {"prompt": "film", "answer": 2}])
    second = Dataset.from_list([{"prompt": "dull", "hint": "x"}])
    parts = [read_prompts(first, TOKENIZER, 40, "a"), read_prompts(second, TOKENIZER, 40, "b")]
    found = combined_prompts(parts, [2.0, 1.0], "a:2,b:1")
    assert found.ids == parts[0].ids + parts[1].ids
    assert found.prompts == ["good", "film", "dull"]
    assert found.columns == {"answer": [1, 2, None], "hint": [None, None, "x"]}
    assert found.rows == [0, 1, 2]
    assert len(found.plan) == 3
    assert found.describe().splitlines()[-1] == ("mixture, interleaved: 3 rows per epoch, 2 of 2 from a, 1 of 1 from b")
    again = read_all_prompts([("a", first), ("b", second)], TOKENIZER, 40)
    assert (again.ids, again.columns, again.name) == (found.ids, found.columns, "a,b")
