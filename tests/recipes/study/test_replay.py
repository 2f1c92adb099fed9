"""The pairs that are replayed; the studies' own tests train on them."""

from burnish.data import builtin
from burnish.recipes.study.replay import pairs_of


def test_pairs_are_peoples_own() -> None:
    """Each once, the chosen text first; a limit takes the beginning of the same order."""
    whole, rows = pairs_of("train"), builtin.comparisons("train")
    assert sorted(one.row for one in whole) == list(range(len(rows)))
    assert [one.row for one in whole[:100]] != list(range(100))
    assert all((one.a, one.b) == (rows[one.row]["chosen"], rows[one.row]["rejected"]) for one in whole[:50])
    assert pairs_of("train", 24) == whole[:24]
