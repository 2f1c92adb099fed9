"""Presets of the classical path: each is whole and builds, and environments without one have CartPole's."""

from pathlib import Path

import pandas as pd
import pytest

from burnish import classic
from burnish.algorithms.table import CONTROL, PATH, load
from burnish.recipes.control.presets import PRESETS
from burnish.recipes.control.settings import experiment

OTHER = {"copies": 3, "rollout": 7, "gamma": 0.25}


@pytest.mark.parametrize("env", PRESETS)
def test_every_algorithm_of_a_preset_builds(env: str) -> None:
    methods = experiment({"env": env, "algorithms": list(CONTROL)}).methods
    assert [method.name for method in methods] == list(CONTROL) == list(PRESETS[env])
    assert [method.name for method in experiment({"env": env}).methods] == list(PATH)
    for method in methods:
        resolved = method.as_dict()
        for key, value in PRESETS[env][method.name].items():
            assert resolved[key] == value, (method.name, key)


@pytest.mark.parametrize("env", PRESETS)
def test_a_preset_says_how_a_run_meets_its_environment(env: str) -> None:
    """How much it sees at once, and how fast it learns, is not left to the classes' defaults."""
    for name in PATH:
        own = PRESETS[env][name]
        assert {"copies", "rollout", "learning_rate"} <= own.keys(), name
        assert (own["rollout"] is None) == load(name).whole_episodes


@pytest.mark.parametrize("env", PRESETS)
def test_algorithms_are_compared_on_one_problem(env: str) -> None:
    """The same discount and the same scales for all: else what differs between their curves is not the algorithm."""
    problems = {
        (method.control.gamma, method.control.normalise_observations, method.control.normalise_rewards)
        for method in experiment({"env": env}).methods
    }
    assert len(problems) == 1, problems


@pytest.mark.parametrize("env", PRESETS)
def test_a_rollout_is_a_whole_number_of_minibatches(env: str) -> None:
    """A smaller one at the end would weigh its steps more than the others."""
    minibatches = 0
    for method in experiment({"env": env}).methods:
        if method.steps.batch_size is not None:
            assert method.control.rollout is not None
            assert method.control.copies * method.control.rollout % method.steps.batch_size == 0, method.name
            minibatches += 1
    assert minibatches == 2


def test_what_was_chosen_for_each_environment() -> None:
    """Pendulum pays at every step, and a tenth of the horizon is enough; CartPole is met as it is."""
    control = {env: experiment({"env": env}).methods[0].control for env in PRESETS}
    assert {env: one.gamma for env, one in control.items()} == {
        "CartPole-v1": 0.99,
        "Acrobot-v1": 0.99,
        "Pendulum-v1": 0.9,
    }
    assert {env for env, one in control.items() if one.normalise_rewards} == {"Acrobot-v1", "Pendulum-v1"}


@pytest.mark.parametrize(("env", "options"), [("Acrobot-v1", {"max_episode_steps": 30}), ("Pendulum-v1", {})])
def test_a_preset_plays_its_environment(env: str, options: dict[str, int], tmp_path: Path) -> None:
    """Two episodes by each algorithm. Nobody swings Acrobot up within 30 steps, which cost 1 each; Pendulum's episodes
    have 200, of which none costs more than π² + 0.1 · 8² + 0.001 · 2²."""
    folder = classic(env=env, env_options=options, runs=1, episodes=2, processes=1, quiet=True, out=tmp_path / "out")
    frame = pd.read_parquet(folder / "returns.parquet")
    assert list(frame.groupby("algorithm", sort=False).size().items()) == [(name, 2) for name in PATH]
    if env == "Acrobot-v1":
        assert set(frame.length) == {30}
        assert set(frame["return"]) == {-30.0}
    else:
        assert set(frame.length) == {200}
        assert frame["return"].between(-200 * 16.2736045, 0).all()


def test_another_environment_has_the_presets_of_cartpole(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that a module registers goes by what stands behind the colon."""
    monkeypatch.setitem(PRESETS, "Stairs-v0", {name: own | OTHER for name, own in PRESETS["CartPole-v1"].items()})

    def gammas(env: str) -> list[float]:
        return [method.control.gamma for method in experiment({"env": env, "algorithms": "trpo,ppo"}).methods]

    assert gammas("Stairs-v0") == gammas("some.module:Stairs-v0") == [0.25, 0.25]
    assert gammas("Nowhere-v7") == gammas("some.module:Nowhere-v7") == gammas("CartPole-v1")
    assert 0.25 not in gammas("CartPole-v1")


def test_off_policy_defaults_are_those_of_stable_baselines() -> None:
    """Of version 2.9.2, where an environment has no values of its own."""
    dqn, sac = (experiment({"env": "Acrobot-v1", "algorithms": name}).methods[0].as_dict() for name in ("dqn", "sac"))
    common = {"buffer_size": 1_000_000, "learning_starts": 100, "gamma": 0.99, "gradient_steps": 1, "copies": 1}
    common |= {"schedule": "constant", "adam_eps": 1e-8, "n_step": 1}
    own = {"learning_rate": 1e-4, "batch_size": 32, "tau": 1.0, "train_freq": 4, "target_update_interval": 10_000}
    own |= {"exploration_fraction": 0.1, "exploration_initial_eps": 1.0, "exploration_final_eps": 0.05}
    assert dqn == common | own | {"max_grad_norm": 10.0, "double": False}
    own = {"learning_rate": 3e-4, "batch_size": 256, "tau": 0.005, "train_freq": 1, "target_update_interval": 1}
    assert sac == common | own | {"max_grad_norm": 0.0, "temperature": None, "target_entropy": None}
