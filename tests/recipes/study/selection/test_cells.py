"""Which pairs a cell labels, and whose models select them."""

import pytest

from burnish.recipes.label.plan import shuffled
from burnish.recipes.study.selection.cells import Cell, Replay, held_out, pool_of, rows_of
from burnish.recipes.study.selection.plan import FULL
from burnish.run import UserError

from .worlds import TINY

ORDER = shuffled(24, "study", 3)
FIRST = {"rows": ORDER[:4], "ranked": [*range(24)]}


def test_whose_models_select() -> None:
    first = Cell(3, 4)
    assert first.before(TINY) is None
    assert Cell(3, 12, "disagreement").before(TINY) == Cell(3, 8, "renewed").before(TINY) == first
    assert Cell(3, 12, "renewed").before(TINY) == Cell(3, 8, "renewed")
    selecting = [first, Cell(3, 8, "renewed"), Cell(3, 12, "renewed"), Cell(3, 8, "random")]
    assert [Replay(TINY).selects(one) for one in selecting] == [True, True, False, False]


def test_rows_of_each_order() -> None:
    """Of the eight that are selected the fifth is random: the first in the random order that is not labelled."""
    assert rows_of(Cell(3, 4), TINY, 24, None) == ORDER[:4]
    assert rows_of(Cell(3, 12, "random"), TINY, 24, FIRST) == ORDER[:12]
    rest = [row for row in range(24) if row not in ORDER[:4]]
    found = rows_of(Cell(3, 12, "disagreement"), TINY, 24, FIRST)
    drawn = next(row for row in ORDER[4:] if row not in rest[:4])
    assert found[:9] == [*ORDER[:4], *rest[:4], drawn]
    assert found[9:] == [row for row in rest[4:] if row != drawn][:3]
    assert len({*found}) == 12
    with pytest.raises(UserError, match="seed 3, random, 30 labels: the pool has only 24 pairs"):
        rows_of(Cell(3, 30, "random"), TINY, 24, FIRST)


def test_names() -> None:
    assert [Cell(3, 4).name, Cell(3, 8, "renewed").name] == ["seed-3/first", "seed-3/renewed-8"]
    assert Cell(3, 1024, "disagreement").label == "seed 3, disagreement, 1,024 labels"
    assert Cell(3, 4).label == "seed 3, the first 4 labels"


def test_the_pool_has_no_held_out_text() -> None:
    """A smaller pool is the beginning of a larger one."""
    whole = pool_of(FULL)
    assert pool_of(TINY) == whole[:24]
    assert len(held_out(TINY)) == 8
    assert not {one.a for one in held_out(FULL)} & {one.a for one in whole}
