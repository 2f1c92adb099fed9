"""The environment as a user gives it, and what is said of one that cannot be used."""

import functools
import math
from typing import Any

import gymnasium
import numpy as np
import pytest

from burnish.experience.control.environments import cautions, make_one
from burnish.experience.control.spaces import RESCALED_ACTIONS, RESCALED_OBSERVATIONS
from burnish.recipes.control.environment import options_of, plain_options, with_environment, wrappers_of
from burnish.recipes.control.group import caution_of
from burnish.recipes.control.settings import experiment, method
from burnish.run import UserError
from recipes.classic_worlds import HERE, Told

CLIP = "gymnasium.wrappers:ClipReward"


def test_an_environment_is_named() -> None:
    assert with_environment({"runs": 2}) == {"runs": 2}
    assert with_environment({"env": "CartPole-v1", "processes": 3}) == {"env": "CartPole-v1", "processes": 3}
    assert with_environment({"env": Told, "processes": 3}) == {"env": f"{HERE}:Told", "processes": 3}


def test_a_function_in_memory_stays_in_this_process() -> None:
    given = with_environment({"env": lambda: Told()})
    assert given["env"].startswith("in-memory:")
    assert given["processes"] == 1
    with pytest.raises(UserError, match="other processes cannot import: leave processes out"):
        with_environment({"env": lambda: Told(), "processes": 2})


def test_an_environment_that_is_made_is_refused() -> None:
    with pytest.raises(UserError, match="env is Told, already made, but every copy needs one of its own"):
        with_environment({"env": Told()})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((), ()),
        (CLIP, ({CLIP: {}},)),
        ([CLIP, {CLIP: {"max_reward": 1}}], ({CLIP: {}}, {CLIP: {"max_reward": 1}})),
        ({CLIP: None}, ({CLIP: {}},)),
        (
            [gymnasium.wrappers.FlattenObservation],
            ({"gymnasium.wrappers.transform_observation:FlattenObservation": {}},),
        ),
        (f"{CLIP}(min_reward=-1, max_reward=2.5)", ({CLIP: {"min_reward": -1, "max_reward": 2.5}},)),
        (
            [f"{CLIP}()", f"{CLIP} ( a='b(c)', d=[1, {{'e': None}}],)"],
            ({CLIP: {}}, {CLIP: {"a": "b(c)", "d": [1, {"e": None}]}}),
        ),
        (
            [functools.partial(gymnasium.wrappers.ClipReward, min_reward=np.float32(0))],
            ({"gymnasium.wrappers.transform_reward:ClipReward": {"min_reward": 0.0}},),
        ),
    ],
)
def test_wrappers_are_names_with_options(given: Any, found: Any) -> None:
    assert wrappers_of(given) == found


def test_wrappers_that_cannot_be_named_are_refused() -> None:
    with pytest.raises(UserError, match="cannot be imported: move it to a module, or apply it inside env"):
        wrappers_of([lambda env: env])
    with pytest.raises(UserError, match="wrappers must be names like module:Class, with their options, not 3"):
        wrappers_of([3])


@pytest.mark.parametrize(
    "options",
    [
        "(1)", "(a=1", "(a=b)", "(a=1)(b=2)", "(a=1) + f(b=2)", "(a=1, a=2)", "(**{'a': 1})", "(a=__import__('os'))",
        "(a=1).b", "(a=" + "[" * 5000, "(a=\0)",
    ],
)  # fmt: skip
def test_options_of_a_wrapper_are_literals_with_names(options: str) -> None:
    """Nothing is evaluated."""
    said = r"is not of the form module:Class\(key=value, …\) with numbers, texts, lists and mappings as values, like"
    with pytest.raises(UserError, match=f"^the wrapper .* {said} gymnasium.wrappers:RescaleAction"):
        wrappers_of(CLIP + options)


def test_a_partial_that_no_file_holds_is_refused() -> None:
    clip = gymnasium.wrappers.ClipReward
    for given, said in (
        (functools.partial(clip, 3), "has arguments without names: give each as key=value"),
        (functools.partial(lambda env: env, a=1), "cannot be imported: move it to a module"),
        (functools.partial(clip, min_reward=math.inf), "min_reward of gymnasium.wrappers.* is inf, which no saved"),
    ):
        with pytest.raises(UserError, match=said):
            wrappers_of([given])


@pytest.mark.parametrize("name", [RESCALED_ACTIONS, RESCALED_OBSERVATIONS])
def test_the_wrappers_that_are_advised_can_be_given(name: str) -> None:
    """The words of the warnings, where actions are from −100 to 100 and observations from 0 to 3000."""
    driven = [{"gymnasium.wrappers:RescaleAction": {"min_action": -100, "max_action": 100}}]
    assert f"--wrapper '{RESCALED_ACTIONS}'" in cautions(f"{HERE}:Driven-v0", False, driven, size=1.0)[0]
    assert f"--wrapper '{RESCALED_OBSERVATIONS}'" in (caution_of(method("sac", {}), "large") or "")
    made = make_one(f"{HERE}:Driven-v0", [*driven, *wrappers_of(name)], size=1.0, seen=1e3)
    space = made.action_space if name == RESCALED_ACTIONS else made.observation_space
    assert (space.low.tolist(), space.high.tolist()) == ([-1], [1])
    assert cautions(f"{HERE}:Driven-v0", False, [*driven, *wrappers_of(RESCALED_ACTIONS)], size=1.0) == []


def test_options_of_a_command_line() -> None:
    texts = ["max_episode_steps=200", "gravity = 9.8", "name=a=b", "slippery=false"]
    assert options_of(texts) == {"max_episode_steps": 200, "gravity": 9.8, "name": "a=b", "slippery": False}
    for text in ("gravity", "=3", "a b=3"):
        with pytest.raises(UserError, match="is not of the form key=value"):
            options_of([text])
    with pytest.raises(UserError, match="has a value that cannot be read"):
        options_of(["x=[1"])


def test_options_are_what_files_hold() -> None:
    """NumPy's numbers become Python's, tuples lists, as they are when a saved policy plays again."""
    given = {
        "gravity": np.float64(9.8),
        "n": np.int64(3),
        "sizes": (1, np.float32(0.5)),
        "deep": {"on": np.bool_(True)},
    }
    plain = {"gravity": 9.8, "n": 3, "sizes": [1, 0.5], "deep": {"on": True}}
    found = experiment({"env_options": given, "wrappers": [{CLIP: {"max_reward": np.float64(1)}}]})
    assert found.env_options == plain
    assert [type(x) for x in found.env_options.values()] == [float, int, list, dict]
    assert type(found.wrappers[0][CLIP]["max_reward"]) is float


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros(2), "map of env_options is of type ndarray, which no saved policy can hold: give finite numbers"),
        ([{"x": {1}}], "map of env_options is of type set, which no"),
        (float("inf"), "map of env_options is inf, which no saved policy can hold"),
        (np.float32("nan"), "map of env_options is nan, which no saved policy can hold"),
    ],
)
def test_options_that_no_file_holds_are_refused(value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plain_options({"map": value}, "env_options")
    with pytest.raises(UserError, match=f"map of {CLIP} is "):
        wrappers_of({CLIP: {"map": value}})
