"""Rows that are held out: which, how many, and that nothing else of them is left."""

from collections import Counter
from typing import Any

import pytest
import tiny
from datasets import Dataset

from burnish.data import tokenise
from burnish.data.holdout import Holdout
from burnish.data.prompts import read_prompts
from burnish.run import UserError

ROWS = [{"prompt": "a ", "completion": " ".join([*["good"] * i, "film"])} for i in range(20)]


def parts(kind: str, rows: list[dict[str, Any]], share: float = 0.1, seed: int = 0) -> tuple[list[int], list[int]]:
    """The rows' numbers in training and held out."""
    tokenizer = tiny.make_tokenizer()
    found = [
        [
            one.row
            for one in tokenise.read(kind, Dataset.from_list(rows), tokenizer, "a", Holdout(share, seed, h)).examples
        ]
        for h in (False, True)
    ]
    return found[0], found[1]


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.1, 2), (0.26, 5), (0.5, 10)])
def test_the_share_is_of_the_rows_and_both_parts_are_all_of_them(share: float, count: int) -> None:
    kept, held = parts("demonstrations", ROWS, share)
    assert len(held) == count
    assert sorted(kept + held) == list(range(20))
    assert kept == sorted(kept)
    assert held == sorted(held)


def test_which_rows_depends_on_their_content_and_the_seed_alone() -> None:
    kept, held = parts("demonstrations", ROWS)
    assert parts("demonstrations", ROWS) == (kept, held)
    backwards = parts("demonstrations", ROWS[::-1])[1]
    assert sorted(19 - row for row in backwards) == held
    assert len({tuple(parts("demonstrations", ROWS, seed=seed)[1]) for seed in range(5)}) > 1


def test_a_row_that_repeats_one_stays_with_it() -> None:
    """Four contents, five times each: a tenth would be two rows, and is all five of one content."""
    kept, held = parts("demonstrations", ROWS[:4] * 5)
    assert len(held) == 5
    assert len({row % 4 for row in held}) == 1
    assert not {row % 4 for row in held} & {row % 4 for row in kept}


def test_both_rows_of_a_pair_are_held_out_together() -> None:
    pairs = [{"prompt": "a ", "chosen": row["completion"], "rejected": "dull"} for row in ROWS]
    kept, held = parts("feedback", pairs)
    assert len(held) == 4
    assert Counter(row // 2 for row in held) == dict.fromkeys((held[0] // 2, held[2] // 2), 2)
    assert len(kept) == 36


def test_nothing_of_feedback_that_is_held_out_is_another_rows_partner() -> None:
    """Each row of feedback has the response of another row beside its own."""
    rows = [{**row, "label": i % 2 == 0} for i, row in enumerate(ROWS)]
    tokenizer = tiny.make_tokenizer()
    found = {
        held: tokenise.feedback(Dataset.from_list(rows), tokenizer, 40, "a", only=Holdout(0.2, 0, held))
        for held in (False, True)
    }
    answers = [{str(ids) for row in part.dataset["tokens"] for ids in row} for part in found.values()]
    assert not answers[0] & answers[1]
    assert len(found[True]) == found[False].counts["held_out"] == 4
    assert ", 4 rows held out, " in found[False].describe()
    assert "held out" not in found[True].describe()


def test_prompts_keep_their_own_columns() -> None:
    rows = [{"prompt": f"good {'film ' * i}", "number": i} for i in range(10)]
    tokenizer = tiny.make_tokenizer()
    kept, held = (
        read_prompts(Dataset.from_list(rows), tokenizer, 40, "a", only=Holdout(0.3, 1, h)) for h in (False, True)
    )
    for part, count in ((kept, 7), (held, 3)):
        assert len(part) == count
        assert part.columns["number"] == part.rows == [len(ids) - 2 for ids in part.ids]
    assert set(kept.rows) | set(held.rows) == set(range(10))
    assert kept.describe().startswith("a: 7 prompts, 3 more held out, ")


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:1] * 20])
def test_data_that_cannot_be_split_are_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(
        UserError, match=rf"a: holdout 0.1 of {len(rows)} rows leaves none to train on; make it smaller"
    ):
        parts("demonstrations", rows)
