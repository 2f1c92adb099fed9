"""Environments of functions and classes by name, and wrappers by name."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from recipes.classic_worlds import HERE, Told

from burnish.experience.control.environments import cautions, make_environments, make_one
from burnish.experience.control.made import Wrappers, name_of
from burnish.run import UserError

CLIPPED = [{"gymnasium.wrappers:ClipReward": {"min_reward": 0, "max_reward": 3}}]


def earned(name: str, wrappers: Wrappers = (), **options: Any) -> list[float]:
    made = make_environments(name, [1], 1, wrappers, **options)
    made.reset()
    return [made.step(np.ones((1, 1), int), np.array([True])).rewards.item() for _ in range(3)]


def test_a_class_and_a_function_are_named_by_their_module() -> None:
    assert name_of(Told) == f"{HERE}:Told"
    assert earned(f"{HERE}:Told") == [1.0, 2.0, 4.0]
    assert name_of(gymnasium.make) == "gymnasium.envs.registration:make"


def test_a_function_in_memory_is_found_again_in_this_process() -> None:
    """By the same name however often it is named; its options are the environment's."""

    def make(scale: float = 1.0) -> gymnasium.Env:
        return gymnasium.wrappers.TransformReward(Told(), lambda reward: scale * reward)

    name = name_of(make)
    assert name == name_of(make) != name_of(lambda: Told())
    assert name.startswith("in-memory:make-")
    assert earned(name, scale=3.0) == [3.0, 6.0, 12.0]
    with pytest.raises(UserError, match=r"environment make-99 was made by a function that cannot be imported: give it"):
        make_one("in-memory:make-99")


def test_wrappers_go_round_every_copy() -> None:
    assert earned(f"{HERE}:Told-v0", CLIPPED) == [1.0, 2.0, 3.0]
    assert "ClipReward" in str(make_one("CartPole-v1", CLIPPED))
    half = [{"gymnasium.wrappers:ClipReward": {"min_reward": 0, "max_reward": 0.5}}]
    poles = make_environments("CartPole-v1", [1], 1, half)  # whose own vector would leave it out
    poles.reset()
    assert poles.step(np.ones((1, 1), int), np.array([True])).rewards.tolist() == [[0.5]]


def test_what_is_warned_of_is_the_environment_in_its_wrappers() -> None:
    """Torques of −2 to 2, and the same said to be −100 to 100."""
    wide = [{"gymnasium.wrappers:RescaleAction": {"min_action": -100, "max_action": 100}}]
    assert cautions("Pendulum-v1", False) == []
    assert "its actions have bounds wide, -100 to 100" in cautions("Pendulum-v1", False, wide)[0]


def test_a_limit_that_a_function_sets_is_one() -> None:
    assert "has no limit on the steps" in cautions(f"{HERE}:Told")[0]
    assert cautions(name_of(lambda: gymnasium.wrappers.TimeLimit(Told(), 9))) == []
    assert cautions(f"{HERE}:Told", False, [{"gymnasium.wrappers:TimeLimit": {"max_episode_steps": 9}}]) == []


@pytest.mark.parametrize(
    ("wrapper", "said"),
    [
        ("NormalizeObservation", "whose statistics are not saved, so that a trained policy plays on other numbers"),
        ("NormalizeReward", "so that returns are not the environment's own: set normalise_rewards"),
    ],
)
def test_wrappers_that_keep_statistics_are_told(wrapper: str, said: str) -> None:
    """Whether a configuration or a function puts the environment in them, further in or further out."""
    (own,) = cautions("Pendulum-v1", False, [{f"gymnasium.wrappers:{wrapper}": {}}, *CLIPPED])
    assert own.startswith("Pendulum-v1: its ")
    assert said in own
    made = name_of(lambda: getattr(gymnasium.wrappers, wrapper)(gymnasium.make("Pendulum-v1")))
    assert [said in one for one in cautions(made)] == [True]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gymnasium.wrappers:Clip", "has no Clip: name a Wrapper"), ("no_such:Clip", "cannot be imported")],
)
def test_a_wrapper_that_is_not_there_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make_environments("CartPole-v1", [1], 1, [{name: {}}])
