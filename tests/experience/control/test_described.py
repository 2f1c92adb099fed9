"""Spaces as JSON: written out by hand for some, and there and back for all kinds."""

import json
from collections import OrderedDict
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from burnish.experience.control.described import described, space_of
from burnish.run import UserError

HALF = {"type": "Box", "low": [0.5, "-inf"], "high": "inf", "shape": [2], "dtype": "float32"}


def test_spaces_by_hand() -> None:
    assert described(Box(np.array([0.5, -np.inf], np.float32), np.inf, (2,), np.float32)) == HALF
    two = {"type": "Discrete", "n": 2, "start": -1, "dtype": "int64"}
    assert described(Dict(OrderedDict(b=Discrete(2, start=-1), a=Tuple([Discrete(2, start=-1)])))) == {
        "type": "Dict",
        "spaces": [["b", two], ["a", {"type": "Tuple", "spaces": [two]}]],
    }


@pytest.mark.parametrize(
    "space",
    [
        Box(-np.inf, np.inf, (3,), np.float64),
        Box(np.array([-1, -np.inf, 0.1], np.float32), np.array([1, 2, np.inf], np.float32)),
        Box(0, 255, (4, 4, 3), np.uint8),
        Box(-(2**63), 2**63 - 1, (1,), np.int64),
        Box(0, 1, ()),
        Discrete(3, start=-1),
        MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
        MultiBinary(4),
        MultiBinary([2, 3]),
        Dict(OrderedDict(b=Discrete(2), a=Tuple([Box(0, 1, (2,)), Discrete(3)]))),
    ],
)
def test_there_and_back(space: gymnasium.Space) -> None:
    text = json.dumps(described(space), allow_nan=False)
    again = space_of(json.loads(text))
    assert again == space
    assert again.dtype == space.dtype
    assert json.dumps(described(again)) == text  # the order of a Dict's keys, which equality does not see


def test_what_has_no_description_is_refused() -> None:
    with pytest.raises(UserError, match="wrap the environment so that it is a Box"):
        described(Dict(name=Text(3)))


@pytest.mark.parametrize("saved", [{}, {"type": "Graph"}, {"type": "Box", "low": 0}, {"type": "Discrete", "n": "x"}])
def test_what_describes_no_space_is_refused(saved: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="describes no space"):
        space_of(saved)
