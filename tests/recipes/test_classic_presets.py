"""Presets of the classical path: each is whole and builds, and environments without one have CartPole's."""

import pytest

from burnish.algorithms.table import CLASSIC
from burnish.recipes.classic_presets import PRESETS
from burnish.recipes.classic_settings import experiment

OTHER = {"copies": 3, "rollout": 7, "gamma": 0.25}


@pytest.mark.parametrize("env", PRESETS)
def test_every_algorithm_of_a_preset_builds(env: str) -> None:
    methods = experiment({"env": env}).methods
    assert [method.name for method in methods] == list(CLASSIC) == list(PRESETS[env])
    for method in methods:
        resolved = method.as_dict()
        for key, value in PRESETS[env][method.name].items():
            assert resolved[key] == value, (method.name, key)


@pytest.mark.parametrize("env", PRESETS)
def test_a_preset_says_how_a_run_meets_its_environment(env: str) -> None:
    """How much it sees at once, and how fast it learns, is not left to the classes' defaults."""
    for name, own in PRESETS[env].items():
        assert {"copies", "rollout", "learning_rate"} <= own.keys(), name
        assert (own["rollout"] is None) == CLASSIC[name].whole_episodes


def test_another_environment_has_the_presets_of_cartpole(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that a module registers goes by what stands behind the colon."""
    monkeypatch.setitem(PRESETS, "Stairs-v0", {name: own | OTHER for name, own in PRESETS["CartPole-v1"].items()})

    def gammas(env: str) -> list[float]:
        return [method.control.gamma for method in experiment({"env": env, "algorithms": "trpo,ppo"}).methods]

    assert gammas("Stairs-v0") == gammas("some.module:Stairs-v0") == [0.25, 0.25]
    assert gammas("Nowhere-v7") == gammas("some.module:Nowhere-v7") == gammas("CartPole-v1")
    assert 0.25 not in gammas("CartPole-v1")
