"""Which sizes are asked for, and what PPO is given."""

from dataclasses import replace

import pytest

from burnish.algorithms.table import load
from burnish.config import build
from burnish.recipes.study.overoptimise.plan import (
    FULL,
    QUICK,
    Plan,
    control_options,
    controls_of,
    options_of,
    plan_for,
    reward_steps,
)


def test_the_plans() -> None:
    assert plan_for(False, None) == FULL
    assert plan_for(True, None) == QUICK
    assert plan_for(False, 5) == replace(FULL, seeds=5)
    assert FULL.labels == (250, 1000, 4000)
    assert (FULL.sizes[0], FULL.sizes[-1]) == (1, 256)
    assert FULL.seeds >= 2


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_the_last_update_is_measured_and_the_best_of_one_is_the_start(plan: Plan) -> None:
    assert plan.steps % plan.eval_every == plan.control_steps % plan.eval_every == 0
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


def test_what_is_run_for_the_monitor() -> None:
    """PPO on the gold score is the study's PPO; the others are pushed on the proxy of the fewest labels and held on
    that of the most."""
    betas = controls_of(FULL)
    assert betas == {
        ("ppo_gold", None): 0.0,
        ("online_dpo", 250): 0.01,
        ("online_dpo", 4000): 1.0,
        ("dpo", 250): 0.01,
        ("dpo", 4000): 1.0,
    }
    assert control_options(FULL, "ppo_gold", 0.0, 1) == options_of(FULL, 1)
    more = {"model": "m", "out": "o", "data": "d"}
    for method, reward in (("dpo", {}), ("online_dpo", {"reward": "r"})):
        algorithm, settings = build(load(method), control_options(FULL, method, 0.01, 1) | more | reward)
        assert (settings.steps, settings.batch_size, settings.seed) == (96, FULL.texts // 2, 1)
        assert vars(algorithm)["beta"] == 0.01
