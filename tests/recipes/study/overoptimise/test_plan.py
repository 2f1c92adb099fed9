"""Which sizes are asked for, and what PPO is given."""

from dataclasses import replace

import pytest

from burnish.algorithms.table import load
from burnish.config import build
from burnish.recipes.study.overoptimise.plan import FULL, QUICK, Plan, options_of, plan_for, reward_steps


def test_the_plans() -> None:
    assert plan_for(False, None) == FULL
    assert plan_for(True, None) == QUICK
    assert plan_for(False, 5) == replace(FULL, seeds=5)
    assert FULL.labels == (250, 1000, 4000)
    assert (FULL.sizes[0], FULL.sizes[-1]) == (1, 256)
    assert FULL.seeds >= 2


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_the_last_update_is_measured_and_the_best_of_one_is_the_start(plan: Plan) -> None:
    assert plan.steps % plan.eval_every == 0
    assert plan.sizes == tuple(sorted(plan.sizes))
    assert plan.sizes[0] == 1
    assert plan.labels == tuple(sorted(plan.labels))


def test_reward_models_make_whole_passes() -> None:
    """250 labels are 8 batches of 32, 4,000 are 125; three passes each."""
    assert [reward_steps(FULL, labels) for labels in (250, 4000)] == [24, 375]


def test_ppo_is_pushed_without_a_penalty() -> None:
    more = {"model": "m", "out": "o", "data": "d", "reward": "r"}
    algorithm, settings = build(load("ppo"), options_of(FULL, seed=3) | more)
    assert (settings.steps, settings.seed, settings.batch_size) == (FULL.steps, 3, FULL.texts)
    assert settings.experience is not None
    knobs = vars(settings.experience)
    assert (knobs["beta"], knobs["kl_target"], knobs["rollout"]) == (0.0, None, FULL.rollout)
    assert vars(algorithm)["update_epochs"] == 2
