"""Which tasks are asked for, and that every method draws the same number of completions."""

from dataclasses import replace

import pytest

from burnish.algorithms.table import load
from burnish.config import build
from burnish.recipes.study.checked.plan import FULL, METHODS, QUICK, TASKS, options_of, plan_for, tasks_of
from burnish.run import UserError


def test_tasks_come_in_the_order_of_the_study_whatever_was_written() -> None:
    assert tasks_of("sort, chain-sum,sort") == ("chain_sum", "sort")
    assert plan_for(False, None, None) == FULL
    assert plan_for(True, "brackets", 3) == replace(QUICK, tasks=("brackets",), seeds=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("revers", "no task 'revers'; did you mean reverse?"),
        ("poetry", "no task 'poetry'; it has chain_sum, reverse,"),
        (" , ", "--tasks names no task: give some of chain_sum,"),
    ],
)
def test_what_is_no_task_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        tasks_of(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_draws_as_many_completions_and_sees_each_prompt_once(name: str) -> None:
    """80 rollouts of 128, in groups of 8 of 16 prompts, with 2 updates of 64 each."""
    method, task = METHODS[name], TASKS["sort"]
    options = options_of(FULL, task, method, FULL.rollouts, seed=3)
    _, settings = build(load(method.algorithm), options | {"model": "unused", "out": "unused"})
    assert settings.steps == 160
    if name == "sft":
        assert settings.batch_size == 64
        assert settings.data == "task:sort:numbers=5,least=3,rows=300,seed=3"
        return
    each = 1 if method.draws == "singles" else 8
    prompts = settings.experience.rollout
    assert prompts * each == 128
    assert settings.data == f"task:sort:numbers=5,least=3,rows={prompts * 80},seed=3"
    assert settings.batch_size * 2 == (16 if name == "rejection" else 128)
    assert settings.experience.max_new_tokens == 12
