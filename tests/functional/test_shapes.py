"""The shapes in signatures are checked here: a test that passes tensors of the wrong kind must not pass silently."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest
import shapes
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

import burnish.functional as fn

X, MASK = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)

WRONG = {
    "mask of numbers": lambda: fn.masked_sum(X, X),
    "losses that do not fit the mask": lambda: fn.aggregate(torch.zeros(2, 4), MASK),
    "one bootstrap for two rows": lambda: fn.discounted_returns(X, X, MASK, torch.zeros(1)),
    "a mask of another batch": lambda: fn.gae(X, torch.zeros(2, 4), X, MASK[:1], 0.9),
    "scores per token": lambda: fn.kl_shaped_rewards(X, X, X, MASK, 0.1),
    "actions of real numbers": lambda: fn.action_logprobs(X, torch.zeros(2)),
    "log-ratios of two batches": lambda: fn.dpo(torch.zeros(3), torch.zeros(2), 0.1),
    "a temperature in words": lambda: fn.dpo(X, X, "0.1"),
    "labels that are not true or false": lambda: fn.kto(X, X, 0.0, 0.1),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_and_types_are_refused(name: str) -> None:
    with pytest.raises(TypeCheckError):
        WRONG[name]()


class Switch:
    on = False


def total(x: Float[Tensor, "n"], switch: Switch, over: Literal["sum", "mean"] = "sum") -> Float[Tensor, ""]:
    return x if switch.on else getattr(x, over)()


def test_what_has_passed_is_not_checked_again_and_all_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = []

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        check = beartype(function)
        return lambda *arguments, **named: checks.append(1) or check(*arguments, **named)

    monkeypatch.setattr(shapes, "beartype", counting)
    checked, switch = shapes.checked(total), Switch()
    for x in (torch.zeros(3), torch.ones(3), torch.ones(3)):
        assert checked(x, switch) == x.sum()
    assert len(checks) == 2  # of what was given, and of what came back
    assert checked(torch.zeros(4), switch) == 0
    assert len(checks) == 4
    assert checked(torch.ones(3), switch, over="mean") == 1
    for wrong in (torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), [0.0] * 3):
        with pytest.raises(TypeCheckError, match="parameters"):
            checked(wrong, switch)
    with pytest.raises(TypeCheckError, match="parameters"):
        checked(torch.zeros(3), switch, over="std")
    switch.on = True
    for _ in range(2):
        with pytest.raises(TypeCheckError, match="return value"):
            checked(torch.zeros(3), switch)


def test_the_check_is_only_there_while_tests_run() -> None:
    """Imported plainly, as a user does, the functions are bare; here they are wrapped."""
    code = "import sys, burnish.functional as fn; sys.exit(hasattr(fn.dpo, '__wrapped__'))"
    assert hasattr(fn.dpo, "__wrapped__")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
