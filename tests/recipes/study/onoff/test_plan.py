"""The sizes of the study."""

import pytest

from burnish.algorithms.table import CONTROL
from burnish.recipes.study.onoff.control import group_of
from burnish.recipes.study.onoff.plan import CARTPOLE, CORRECTIONS, FULL, LANGUAGE, OF_LANGUAGE, QUICK, Plan, plan_for


def test_flags() -> None:
    assert plan_for(False, None) == FULL
    assert plan_for(True, None) == QUICK
    assert (plan_for(False, 3).runs, plan_for(False, 3).language_runs) == (3, 3)
    assert (plan_for(False, 20).runs, plan_for(False, 20).language_runs) == (20, FULL.language_runs)


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_every_measurement_of_weights_is_within_its_training(plan: Plan) -> None:
    control = group_of(plan, CARTPOLE, "ppo", 0, plan.late_steps).method.control
    turns = plan.late_steps // (control.copies * control.rollout)
    assert max(plan.anchors) + max(plan.lags) <= turns
    assert max(plan.language_anchors) + max(plan.lags) <= plan.updates
    assert min(plan.anchors) >= max(plan.lags) - 1
    assert 0 in plan.lags
    assert 0 in plan.language_lags
    assert {*plan.language_lags} <= {*plan.lags}


def test_tasks_have_their_own_sizes() -> None:
    assert (FULL.lags_of(LANGUAGE), FULL.lags_of(CARTPOLE)) == (FULL.language_lags, FULL.lags)
    assert (FULL.counts_of(LANGUAGE)[-1], FULL.counts_of(CARTPOLE)[-1]) == (50, 200)
    assert (FULL.runs_of(LANGUAGE), FULL.runs_of(CARTPOLE)) == (5, 10)


def test_corrections_and_learners_exist() -> None:
    assert CORRECTIONS.keys() == OF_LANGUAGE.keys()
    assert {name for names in FULL.learners.values() for name in names} <= set(CONTROL)
