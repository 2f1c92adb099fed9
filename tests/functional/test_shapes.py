"""The shapes in signatures are checked here: a test that passes tensors of the wrong kind must not pass silently."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError

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


def test_the_check_is_only_there_while_tests_run() -> None:
    """Imported plainly, as a user does, the functions are bare; here they are wrapped."""
    code = "import sys, burnish.functional as fn; sys.exit(hasattr(fn.dpo, '__wrapped__'))"
    assert hasattr(fn.dpo, "__wrapped__")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
