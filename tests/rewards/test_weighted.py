"""Weighted sums of rewards."""

from typing import Any

import pytest

from burnish.rewards.builtin import TextReward
from burnish.rewards.completed import BadRewardError, Completed
from burnish.rewards.weighted import Weighted, keys_of, read_weighted
from burnish.run import UserError


@pytest.mark.parametrize(
    ("text", "names", "weights"),
    [
        ("match", ["match"], [1]),
        ("match:1", ["match:1"], [1]),
        ("match:1,format:0.2", ["match", "format"], [1, 0.2]),
        ("match, m:f", ["match", "m:f"], [1, 1]),
        ("regex:a{1,3}[,:](x,y):2,runs/rm:-.5", ["regex:a{1,3}[,:](x,y)", "runs/rm"], [2, -0.5]),
        (r"regex:a\,b\(,match", [r"regex:a\,b\(", "match"], [1, 1]),
        ("match:0,gold:1", ["match", "gold"], [0, 1]),
    ],
)
def test_names_and_weights(text: str, names: list[str], weights: list[float]) -> None:
    assert read_weighted(text) == (names, weights)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("match,", "has an empty part"),
        ("match,format:2", "match has no weight, but others have one"),
        ("match:1e999,format:1", "the weights must be finite"),
        ("match:0,format:0", "and not all 0"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_weighted(text)


def constant(name: str, values: list[Any]) -> TextReward:
    return TextReward(name, lambda texts: values)


def completed() -> Completed:
    return Completed(["p", "q"], ["a", "b"], ["a", "b"], {}, [3, 4], None, [True, True])


def test_the_sum_and_each_part() -> None:
    """2·0.5 − 3 = −2 and 2·1.5 + 0 = 3."""
    both = Weighted("x", (constant("a", [0.5, 1.5]), constant("b", [3, 0])), (2.0, -1.0), ("a", "b"))
    assert both.apart(completed()) == {"a": [0.5, 1.5], "b": [3, 0]}
    assert both(completed()) == [-2, 3]


def test_a_part_that_fails_is_named_with_its_row() -> None:
    both = Weighted("x", (constant("a", [1, 2]), constant("b", [0, float("nan")])), (1.0, 1.0), ("a", "b"))
    with pytest.raises(BadRewardError, match="the reward b returned nan"):
        both(completed())


def test_keys_are_short_and_different() -> None:
    assert keys_of(["match:answer", "regex:a", "regex:b", "runs/rm/", "mod:f"]) == (
        "match",
        "regex",
        "regex_2",
        "rm",
        "mod",
    )
