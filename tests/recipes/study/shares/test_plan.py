"""The sizes of the study."""

import pytest

from burnish.recipes.study.shares.plan import FULL, QUICK, Plan, plan_for

from .worlds import TINY


def test_flags() -> None:
    assert plan_for(False, None, None) == FULL
    assert plan_for(True, None, None) == QUICK
    assert (plan_for(False, 2, None).seeds, plan_for(True, 3, "mine").judge) == (2, "mine")


def test_labels_cost_no_more_than_the_budget() -> None:
    """By hand: at a tenth of the price and ¼ of the judge a label costs 0.775, of which 200 have 258: 65 of the judge,
    which is ¼ rounded up, and 193 of people, together 199.5."""
    assert [FULL.labels(share) for share in FULL.shares] == [(200, 0), (193, 65), (181, 182), (0, 2000)]
    assert [TINY.labels(share) for share in TINY.shares] == [(4, 0), (3, 1), (2, 3), (0, 8)]
    assert FULL.cost(193, 65) == pytest.approx(199.5)


@pytest.mark.parametrize("budget", [1, 7, 200, 333])
@pytest.mark.parametrize("price", [0.01, 0.1, 0.3, 1.0])
def test_one_more_label_would_cost_too_much(budget: int, price: float) -> None:
    plan = Plan(budget=budget, price=price)
    for share in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        people, judged = plan.labels(share)
        assert plan.cost(people, judged) <= budget + 1e-9
        assert judged - share * (people + judged) == pytest.approx(0, abs=1)
        assert (people + judged + 1) * (1 - share + share * price) > budget
