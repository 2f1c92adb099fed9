"""Which pairs people label and which the judge does, and what is learned from."""

from dataclasses import replace
from pathlib import Path

import pytest

from burnish.recipes.label.pairs import Pair
from burnish.recipes.label.plan import shuffled
from burnish.recipes.study.shares.cells import (
    Cell,
    Chunk,
    Judging,
    Training,
    asked,
    better_of,
    cells,
    chunk_of,
    chunks,
    judged,
    line_of,
    pool,
    rows_of,
)
from burnish.run import UserError

from .worlds import TINY


def test_peoples_pairs_come_first_in_the_seeds_order() -> None:
    order = shuffled(len(pool()), "study", 3)
    assert rows_of(Cell(3, 0.0), TINY) == (order[:4], [])
    assert rows_of(Cell(3, 0.5), TINY) == (order[:2], order[2:5])
    assert rows_of(Cell(3, 1.0), TINY) == ([], order[:8])
    with pytest.raises(UserError, match=r"seed 3, 100% of the judge: 9,998 labels are needed, .* only 4,989 pairs"):
        rows_of(Cell(3, 1.0), replace(TINY, budget=4999))


def test_the_judge_is_asked_about_each_pair_once() -> None:
    """Of two seeds the first eight pairs each."""
    plan = replace(TINY, seeds=2)
    needed = {row for seed in range(2) for row in shuffled(len(pool()), "study", seed)[:8]}
    assert asked(plan) == tuple(sorted(needed))
    assert [row for one in chunks(plan) for row in chunk_of(one, plan)] == sorted(needed)
    assert [one.begin for one in chunks(TINY)] == [0, 5]
    assert len(cells(plan)) == 8


def test_names() -> None:
    assert [Chunk(64).name, Chunk(1024).label] == ["judge/00064", "the judge, from pair 1,025"]
    assert [Cell(2, 0.25).name, Cell(2, 0.25).label] == ["seed-2/share-0.25", "seed 2, 25% of the judge"]


def test_what_the_judge_says_is_held_against_people() -> None:
    """It is of one mind with them on the first pair and not on the third; the second has no label."""
    labels = [{"row": 2, "chosen": "dull", "confidence": 0.75}, {"row": 0, "chosen": "fine", "confidence": 0.6}]
    assert better_of(labels, ["fine", "good", "great"]) == [0.6, None, 0.25]


def test_a_label_has_the_certainty_of_the_likelier_answer() -> None:
    pair = Pair(0, "the film", "good", "bad")
    expected = {"prompt": "the film", "chosen": "good", "rejected": "bad", "confidence": 0.75}
    assert line_of(pair, 0.75) == expected
    assert line_of(pair, 0.25) == expected | {"chosen": "bad", "rejected": "good"}
    assert line_of(pair, 0.5) == expected | {"confidence": 0.5}


def test_a_file_that_lacks_something_is_not_whole() -> None:
    rows = chunk_of(Chunk(0), TINY)
    found = {"rows": rows, "better": [0.5, None, 0.5, 0.5, 0.5]}
    assert Judging(TINY).is_whole(Chunk(0), found)
    assert not Judging(TINY).is_whole(Chunk(0), found | {"rows": rows[::-1]})
    assert not Judging(TINY).is_whole(Chunk(0), found | {"better": [0.5]})
    assert Training(TINY).is_whole(Cell(0, 0.5), {"people": 2, "right": [1.0]})
    assert not Training(TINY).is_whole(Cell(0, 0.5), {"people": 3, "right": [1.0]})


def test_without_the_judges_labels_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the judge, from pair 1: is not there, and reward models learn from it"):
        judged(TINY, tmp_path)
