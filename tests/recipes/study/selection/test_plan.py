"""The sizes of the study."""

from burnish.recipes.study.selection.plan import FULL, QUICK, plan_for


def test_flags() -> None:
    assert plan_for(False, None) == FULL
    assert plan_for(True, None) == QUICK
    assert (plan_for(False, 2).seeds, plan_for(True, 3).seeds) == (2, 3)
    assert all(one.first < min(one.labels) for one in (FULL, QUICK))
    assert all(one.pool is None or max(one.labels) < one.pool for one in (FULL, QUICK))
