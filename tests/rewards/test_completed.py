"""Valid return values of rewards, and the errors for invalid ones."""

import dataclasses
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from burnish.rewards.completed import BadRewardError, Completed, checked_scores
from burnish.run import UserError

from .conversations import completed


@dataclass(frozen=True)
class Made:
    """A reward from a function of the completions."""

    function: Callable[[Completed], Any]
    name: str = "mine"

    def __call__(self, completed: Completed) -> Any:
        return self.function(completed)


def returning(value: Any) -> Made:
    return Made(lambda completed: value)


@pytest.mark.parametrize(
    "value",
    [
        [0.0, 1.0, -2.5],
        (0, True, -2.5),
        [False, np.float32(1), np.array([-2.5])],
        [torch.tensor(0.0), torch.tensor([1]), Fraction(-5, 2)],
        np.array([0, 1, -2.5], dtype=np.float16),
        torch.tensor([0, 1, -2.5], dtype=torch.bfloat16, requires_grad=True),
        torch.tensor([[0.0], [1.0], [-2.5]]),
        (score for score in [0.0, 1.0, -2.5]),
    ],
)
def test_all_types_of_numbers_are_scores_and_so_is_zero(value: Any) -> None:
    scores = checked_scores(returning(value), completed("a", "b", "c"))
    assert scores == [0.0, 1.0, -2.5]
    assert all(type(score) is float for score in scores)


@pytest.mark.parametrize(
    "bad", [None, math.nan, -math.inf, "3", [1.0, 2.0], 10**400, 1 + 2j, Decimal(1), torch.ones(2)]
)
def test_a_score_that_is_not_finite_names_its_row(bad: Any) -> None:
    with pytest.raises(BadRewardError, match=r"the reward mine returned .* for row 11: ") as caught:
        checked_scores(returning([0.0, bad, 1.0]), completed("a", "b", "c"))
    assert caught.value.rows == [11]
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


def test_nan_in_a_tensor_is_found() -> None:
    with pytest.raises(BadRewardError, match="for rows 10, 12: "):
        checked_scores(returning(torch.tensor([math.nan, 0.0, math.inf])), completed("a", "b", "c"))


@pytest.mark.parametrize("value", [[], [1.0], [1.0, 2.0, 3.0], np.ones((1, 2))])
def test_a_wrong_number_of_scores_is_an_error(value: Any) -> None:
    with pytest.raises(BadRewardError, match=rf"returned {len(value)} scores for 2 completions of rows 10, 11"):
        checked_scores(returning(value), completed("a", "b"))


@pytest.mark.parametrize("value", [None, 1.0, torch.tensor(1.0), np.float64(1), "12", {0: 1.0, 1: 2.0}, {1.0, 2.0}])
def test_a_return_value_that_is_not_a_list_is_an_error(value: Any) -> None:
    with pytest.raises(BadRewardError, match="return a list with one number per completion") as caught:
        checked_scores(returning(value), completed("a", "b"))
    assert caught.value.rows == [10, 11]


def test_an_exception_names_the_row_that_raises() -> None:
    def raising(found: Completed) -> list[float]:
        return [float(response) for response in found.responses]

    with pytest.raises(BadRewardError, match=r"failed for row 12 \(ValueError: could not convert .* 'x'\)") as caught:
        checked_scores(Made(raising), completed("1", "2", "x", "y"))
    assert caught.value.rows == [12]
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_reward_that_exits_is_an_error_with_its_row() -> None:
    def leaving(found: Completed) -> list[float]:
        if "x" in found.responses:
            sys.exit(0)
        return [0.0] * len(found)

    with pytest.raises(BadRewardError, match=r"failed for row 11 \(SystemExit: 0\)") as caught:
        checked_scores(Made(leaving), completed("a", "x", "b"))
    assert caught.value.rows == [11]


class Leaving(float):
    """A number that exits when it is read or shown."""

    def __float__(self) -> float:
        sys.exit(0)

    def __repr__(self) -> str:
        sys.exit(0)


def test_a_score_that_exits_is_an_error_of_the_reward() -> None:
    with pytest.raises(BadRewardError, match=r"failed for rows 10, 11 \(SystemExit: 0\)"):
        checked_scores(returning([0.0, Leaving()]), completed("a", "b"))
    with pytest.raises(BadRewardError, match="returned a list for row 10: return a finite number"):
        checked_scores(returning([[Leaving()]]), completed("a"))


def test_scores_without_an_end_are_too_many() -> None:
    with pytest.raises(BadRewardError, match="returned 1000000 scores for 1 completions"):
        checked_scores(returning(itertools.repeat(1.0)), completed("a"))


def test_an_error_that_cannot_be_printed_is_reported() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("again")

    def raising(found: Completed) -> list[float]:
        raise SilentError

    with pytest.raises(BadRewardError, match=r"failed for row 10 \(SilentError\)"):
        checked_scores(Made(raising), completed("a"))


def test_an_exception_that_no_single_row_raises_names_all_rows() -> None:
    def together(found: Completed) -> list[float]:
        if len(found) > 1:
            raise RuntimeError("no\n  memory.")
        return [0.0]

    with pytest.raises(BadRewardError, match=r"failed for rows 10, 11 \(RuntimeError: no memory\)"):
        checked_scores(Made(together), completed("a", "b"))


def test_an_interruption_is_an_error_of_the_reward_unless_ctrl_c_was_pressed() -> None:
    def interrupted(found: Completed) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(BadRewardError, match=r"failed for row 10 \(KeyboardInterrupt\)"):
        checked_scores(Made(interrupted), completed("a"))

    def pressed(found: Completed) -> list[float]:
        subprocess.run(["kill", "-INT", str(os.getpid())])
        return [0.0]

    with pytest.raises(KeyboardInterrupt):
        checked_scores(Made(pressed), completed("a"))


def test_many_rows_are_counted_and_the_same_row_is_named_once() -> None:
    with pytest.raises(BadRewardError, match="of row 3: "):
        checked_scores(returning([]), completed("a", "b", rows=[3, 3]))
    with pytest.raises(BadRewardError, match="of rows 10, 11, 12, 13, 14, 15, 16, 17 and 2 more: "):
        checked_scores(returning([]), completed(*"abcdefghij"))


def test_select_keeps_every_list_and_the_ids_together() -> None:
    found = completed("a", "b", "c", columns={"answer": [7, 8, 9]}).select([2, 0])
    assert (found.prompts, found.responses, found.texts) == (["p2", "p0"], ["c", "a"], ["p2 c", "p0 a"])
    assert (found.columns, found.rows, found.ended) == ({"answer": [9, 7]}, [12, 10], [True, True])
    assert found.batch.lengths.tolist() == [3, 1]


def vandal(given: Completed) -> list[float]:
    """A reward that changes whatever it can reach, and raises for a response that it does not like."""
    unwanted = "bad" in given.responses
    for prompt in given.prompts:
        prompt.append({"role": "user", "content": f"{len(prompt)}"})
        prompt[0]["content"] = "X"
    scores = [float(len(prompt)) for prompt in given.prompts]
    given.columns["facts"][0]["ids"].clear()
    given.columns.clear()
    given.responses.sort()
    given.batch.tokens.zero_()
    for values in (given.texts, given.rows, given.ended, given.prompts):
        values.clear()
    if unwanted:
        raise ValueError("bad")
    return scores


def conversation() -> Completed:
    """Two completions of the same prompt, and one of another; the first two share the very same messages."""
    found = completed("c", "bad", "a", columns={"facts": [{"ids": [1]}, {"ids": [2]}, {"ids": [3]}]})
    first, other = ([{"role": "user", "content": text}] for text in ("one", "two"))
    return dataclasses.replace(found, prompts=[first, first, other])


def shown(found: Completed) -> str:
    return repr(dataclasses.replace(found, batch=found.batch.tokens.tolist()))


def test_a_reward_changes_copies_alone() -> None:
    """Each prompt is given with one message, so that a reward that adds one counts two in each."""
    found = conversation().select([0, 2])
    before = shown(found)
    assert checked_scores(Made(vandal), found) == [2.0, 2.0]
    assert checked_scores(Made(vandal), found.select([0, 0])) == [2.0, 2.0]
    assert shown(found) == before


def test_a_reward_that_raises_has_changed_copies_alone() -> None:
    found = conversation()
    before = shown(found)
    with pytest.raises(BadRewardError, match="failed for row 11 ") as caught:
        checked_scores(Made(vandal), found)
    assert caught.value.rows == [11]
    assert shown(found) == before


def test_importing_rewards_loads_no_transformers():
    """Commands that only need the types must not load them, nor scikit-learn, which only the gold judge needs."""
    names = ("builtin", "completed", "ensemble", "function", "model", "predicted")
    code = f"import sys, {', '.join(f'burnish.rewards.{name}' for name in names)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "burnish.rewards.predicted" in loaded
    assert not {"transformers", "datasets", "pandas", "scipy", "sklearn"} & set(loaded)
