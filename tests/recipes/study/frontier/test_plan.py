"""Which grid is asked for, and that every method learns from as many texts."""

from dataclasses import replace

import pytest

from burnish.algorithms.table import load
from burnish.config import build
from burnish.recipes.study.frontier.plan import ALL, FULL, METHODS, QUICK, REDUCED, Plan, name_of, options_of, plan_for


def test_the_grids() -> None:
    assert plan_for(False, False, None) == REDUCED
    assert plan_for(True, False, None) == QUICK
    assert plan_for(False, True, 5) == replace(FULL, seeds=5)
    assert FULL.grid["dpo"] == (0.05, 0.1, 0.3, 1.0, 5.0)
    assert FULL.grid["ppo"] == (3.0, 6.0, 9.0, 12.0)
    assert FULL.grid["best_of_n"] == (2, 4, 16, 64)
    assert set(FULL.grid) == set(METHODS)
    for name, values in REDUCED.grid.items():
        assert set(values) <= set(ALL[name])


def test_the_reduced_grid_can_answer_what_the_literature_asks() -> None:
    """DPO beside PPO on the reward model and on the true reward, which goes beyond the largest level; in the time of
    the page: 3 seeds of 10 methods."""
    assert {"dpo", "ppo", "ppo_gold"} <= set(REDUCED.grid)
    assert REDUCED.grid["ppo_gold"] == (9.0,)
    assert max(REDUCED.levels) < 9.0
    assert (len(REDUCED.grid), REDUCED.seeds, REDUCED.steps) == (10, 3, 80)


@pytest.mark.parametrize("plan", [FULL, REDUCED, QUICK])
def test_the_last_update_is_measured(plan: Plan) -> None:
    assert plan.steps % plan.eval_every == 0


def test_a_setting_has_a_name_for_readers() -> None:
    assert name_of("dpo", 0.1) == "DPO, β 0.1"
    assert name_of("ppo_gold", 3.0) == "PPO on the gold score, KL target 3"
    assert name_of("best_of_n", 16) == "Best of 16"
    assert name_of("best_of_n") == "Best of n"


@pytest.mark.parametrize("name", [name for name, one in METHODS.items() if one.feed != "pool"])
def test_every_method_learns_from_as_many_texts(name: str) -> None:
    """80 updates of 64 texts: of pairs 32, and of completions 64."""
    method, value = METHODS[name], ALL[name][0]
    options = options_of(REDUCED, name, value, seed=3)
    more = {"reward": "gold"} if method.feed in ("reward", "gold") else {}
    algorithm, settings = build(load(method.algorithm), options | more | {"model": "m", "out": "o", "data": "d"})
    assert (settings.steps, settings.seed) == (80, 3)
    pairs = method.feed == "pairs" or name == "online_dpo"
    assert settings.batch_size * (2 if pairs else 1) == 64
    holders = [settings, settings.experience, algorithm]
    assert value in [vars(one).get(method.key) for one in holders if one is not None]
    if method.feed not in ("reward", "gold"):
        return
    each = getattr(settings.experience, "completions_per_prompt", 1)
    assert settings.experience.rollout * each == 128
