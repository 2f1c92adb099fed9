"""Options of the classical path: what they may be written as, what is refused, and that they come back as they were."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.algorithms.ppo import PPO
from burnish.algorithms.trpo import TRPO
from burnish.recipes.control.settings import experiment
from burnish.run import UserError

PATH = ["reinforce", "reinforce_baseline", "actor_critic", "trpo", "ppo"]


def names(algorithms: Any) -> list[str]:
    return [method.name for method in experiment({"algorithms": algorithms}).methods]


def refused(**options: Any) -> str:
    with pytest.raises(UserError) as caught:
        experiment(options)
    return str(caught.value)


def test_the_standard_comparison_is_the_default() -> None:
    plan = experiment({})
    assert [method.name for method in plan.methods] == PATH
    asked = plan.settings
    assert (asked.env, asked.runs, asked.episodes, asked.seed) == ("CartPole-v1", 20, 1000, 2)
    assert plan.hidden == (64, 64)
    assert plan.env_options == {}


@pytest.mark.parametrize(
    "written",
    [
        "ppo, reinforce,actor-critic,",
        ["ppo", "reinforce", "actor_critic"],
        ("actor-critic", "ppo", "reinforce"),
        {"actor_critic": {}, "ppo": None, "reinforce": {"gamma": 0.9}},
        "ppo,reinforce,ppo,actor_critic",
    ],
    ids=["text", "list", "tuple", "mapping", "twice"],
)
def test_algorithms_are_written_in_any_way_and_run_in_the_order_of_the_path(written: Any) -> None:
    assert names(written) == ["reinforce", "actor_critic", "ppo"]


def test_hyperparameters_reach_the_part_that_they_are_of() -> None:
    """Keys of the algorithm, of its environments and of its steps are one flat mapping; dashes are as good as _."""
    own = {"clip": 0.1, "lambda-": 0.5, "copies": 3, "normalise-rewards": True, "learning_rate": "1e-4"}
    plan = experiment({"algorithms": {"ppo": own, "trpo": {"max_kl": 0.02}}, "env-options": {"sutton_barto_reward": 1}})
    trpo, ppo = plan.methods
    assert isinstance(ppo.algorithm, PPO)
    assert (ppo.algorithm.clip, ppo.algorithm.lambda_) == (0.1, 0.5)
    assert (ppo.control.copies, ppo.control.normalise_rewards) == (3, True)
    assert ppo.steps.learning_rate == 1e-4
    assert isinstance(trpo.algorithm, TRPO)
    assert trpo.algorithm.max_kl == 0.02
    assert not trpo.control.normalise_rewards
    assert plan.env_options == {"sutton_barto_reward": 1}


def test_what_is_given_goes_before_the_preset_and_leaves_the_rest_of_it() -> None:
    preset, own = (experiment({"algorithms": {"ppo": given}}).methods[0] for given in ({}, {"gamma": 0.5}))
    assert own.control.gamma == 0.5
    assert own.as_dict() == preset.as_dict() | {"gamma": 0.5}
    assert preset.control.gamma != 0.5


def test_numbers_may_be_written_as_files_and_flags_have_them() -> None:
    plan = experiment({"runs": "3", "episodes": 1e2, "out": Path("a/b"), "processes": "2", "hidden": "8"})
    settings = plan.settings
    assert (settings.runs, settings.episodes, settings.out, plan.processes) == (3, 100, "a/b", 2)
    assert plan.hidden == (8,)
    assert experiment({"hidden": " 32, 16 ,8"}).hidden == (32, 16, 8)


def test_processes_are_one_a_core_unless_told() -> None:
    assert experiment({}).processes >= 1
    assert experiment({"processes": 7}).processes == 7


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"episode": 3}, "unknown key 'episode' for classic: did you mean 'episodes'?"),
    "key of env options": ({"env_option": {}}, "unknown key 'env_option' for classic: did you mean 'env_options'?"),
    "algorithms": ({"algorithm": "ppo"}, "unknown key 'algorithm' for classic: did you mean 'algorithms'?"),
    "hyperparameter at the top": ({"learning_rate": 1.0}, "unknown key 'learning_rate' for classic; the keys are alg"),
    "algorithm": (
        {"algorithms": "ppo,reinforc"},
        "no such algorithm 'reinforc' for control: did you mean 'reinforce'?",
    ),
    "method of language": ({"algorithms": ["dpo"]}, "no such algorithm 'dpo' for control: did you mean 'ppo'?"),
    "hyperparameter": ({"algorithms": {"ppo": {"clpi": 1}}}, "unknown key 'clpi' for ppo: did you mean 'clip'?"),
    "another's hyperparameter": ({"algorithms": {"reinforce": {"clip": 0.1}}}, "unknown key 'clip' for reinforce"),
    "a critic's where there is none": (
        {"algorithms": {"reinforce": {"value_weight": 1}}},
        "unknown key 'value_weight' for reinforce",
    ),
    "ppo's for trpo": ({"algorithms": {"trpo": {"clip": 0.1}}}, "unknown key 'clip' for trpo"),
    "ppo's knob of sampling": ({"algorithms": {"ppo": {"max_new_tokens": 4}}}, "unknown key 'max_new_tokens' for ppo"),
    "a name of elsewhere": ({"algorithms": {"ppo": {"gae_lambda": 1}}}, "'gae_lambda' for ppo: it is 'lambda_' here"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_name_is_refused_with_what_is_meant(case: str) -> None:
    options, message = UNKNOWN[case]
    assert message in refused(**options)


AMISS: dict[str, tuple[dict[str, Any], str]] = {
    "no episodes": ({"episodes": 0}, "episodes must be at least 1"),
    "half an episode": ({"episodes": 1.5}, "episodes must be a whole number, not 1.5"),
    "no runs": ({"runs": 0}, "runs must be at least 1"),
    "no group": ({"group": 0}, "group must be at least 1"),
    "no process": ({"processes": 0}, "processes must be at least 1"),
    "seed below": ({"seed": -1}, "seed must lie in [0, 4294967295]"),
    "seed beyond": ({"seed": 2**32}, "seed must lie in [0, 4294967295]"),
    "no layer": ({"hidden": ""}, "hidden must be sizes of layers, comma-separated, like 64,64, not ''"),
    "a comma too many": ({"hidden": "64,"}, "hidden must be sizes of layers"),
    "a layer of nothing": ({"hidden": "64,0"}, "hidden must be sizes of layers"),
    "a layer below nothing": ({"hidden": "-3"}, "hidden must be sizes of layers"),
    "a giant layer": ({"hidden": "8,1000000000000"}, "hidden must have sizes of at most 16384, not 1000000000000"),
    "a layer of 5,000 digits": ({"hidden": "1" * 5000}, "hidden must have sizes of at most 16384, not 1111"),
    "3,000 layers": ({"hidden": ",".join(["4"] * 3000)}, "hidden must have at most 64 sizes, not 3000"),
    "a billion runs": ({"runs": 10**9}, "runs must be at most 100000, not 1000000000"),
    "a word": ({"hidden": "many"}, "hidden must be sizes of layers"),
    "a digit that is no number": ({"hidden": "8²"}, "hidden must be sizes of layers"),
    "a list of layers": ({"hidden": [64, 64]}, "hidden must be text, not a list"),
    "no algorithm": ({"algorithms": " , "}, "algorithms is empty: give one or more of reinforce, reinforce_baseline"),
    "an empty list": ({"algorithms": []}, "algorithms is empty"),
    "nothing for algorithms": ({"algorithms": None}, "algorithms must be names"),
    "a number for algorithms": ({"algorithms": 3}, "algorithms must be names"),
    "mappings in a list": ({"algorithms": [{"ppo": {"clip": 0.1}}]}, "algorithms must be names"),
    "text for hyperparameters": (
        {"algorithms": {"ppo": "clip"}},
        "the hyperparameters of ppo must be a mapping of keys to values",
    ),
    "0 for hyperparameters": (
        {"algorithms": {"ppo": 0}},
        "the hyperparameters of ppo must be a mapping of keys to values, not 0",
    ),
    "text for env options": ({"env_options": "slow"}, "env_options must be a mapping of keys to values, not 'slow'"),
    "rollout of one step": (
        {"algorithms": {"ppo": {"copies": 1, "rollout": 1}}},
        "ppo standardises advantages, which are 0 where a rollout has one step: raise copies or rollout",
    ),
    "rollout of whole episodes": (
        {"algorithms": {"reinforce": {"rollout": 5}}},
        "reinforce learns from whole episodes: leave rollout out",
    ),
    "rollout with a baseline": (
        {"algorithms": {"reinforce_baseline": {"rollout": 5}}},
        "reinforce_baseline learns from whole episodes: leave rollout out",
    ),
    "no rollout": ({"algorithms": {"actor_critic": {"rollout": None}}}, "actor_critic learns from steps: give rollout"),
    "ppo without a rollout": ({"algorithms": {"ppo": {"rollout": None}}}, "ppo learns from steps: give rollout"),
    "minibatches of one update": (
        {"algorithms": {"actor_critic": {"batch_size": 5}}},
        "actor_critic learns from a whole rollout at once: leave batch_size out",
    ),
    "minibatches of an episode": (
        {"algorithms": {"reinforce": {"batch_size": 5}}},
        "reinforce learns from a whole rollout at once: leave batch_size out",
    ),
    "minibatches of one step": (
        {"algorithms": {"q_learning": {"batch_size": 5}}},
        "unknown key 'batch_size' for q_learning",
    ),
    "copies of one step": ({"algorithms": {"q_learning": {"copies": 2}}}, "unknown key 'copies' for q_learning"),
    "uniform actions of sac": (
        {"algorithms": {"sac": {"exploration_final_eps": 0.1}}},
        "unknown key 'exploration_final_eps' for sac",
    ),
    "normalised replay": (
        {"algorithms": {"dqn": {"normalise_observations": True}}},
        "unknown key 'normalise_observations' for dqn",
    ),
    "a rollout of replay": ({"algorithms": {"dqn": {"rollout": 5}}}, "unknown key 'rollout' for dqn"),
    "no minibatch of replay": ({"algorithms": {"dqn": {"batch_size": None}}}, "batch_size must be"),
    "a buffer of nothing": ({"algorithms": {"dqn": {"buffer_size": 0}}}, "buffer_size must be at least 1, not 0"),
    "a buffer smaller than copies": (
        {"algorithms": {"dqn": {"buffer_size": 2, "copies": 3}}},
        "buffer_size must be at least copies, 3, not 2",
    ),
    "no copy": ({"algorithms": {"ppo": {"copies": 0}}}, "copies must be at least 1, not 0"),
    "gamma beyond 1": ({"algorithms": {"ppo": {"gamma": 1.1}}}, "gamma must lie in [0, 1], not 1.1"),
    "negative clip": ({"algorithms": {"ppo": {"clip": -1}}}, "clip must be above 0, not -1"),
    "no rate": ({"algorithms": {"trpo": {"learning_rate": 0}}}, "learning_rate must be above 0, not 0"),
    "schedule": ({"algorithms": {"ppo": {"schedule": "cosine"}}}, "schedule must be one of constant, linear"),
}


@pytest.mark.parametrize("case", AMISS)
def test_what_makes_no_sense_is_refused(case: str) -> None:
    options, message = AMISS[case]
    assert message in refused(**options)


def test_the_least_that_makes_sense_is_taken() -> None:
    settings = experiment({"episodes": 1, "runs": 1, "group": 1, "processes": 1, "seed": 2**32 - 1, "hidden": "1"})
    assert settings.settings.seed == 4294967295
    minibatches = experiment({"algorithms": {"trpo": {"batch_size": 1}, "ppo": {"batch_size": 1, "rollout": 1}}})
    assert [method.steps.batch_size for method in minibatches.methods] == [1, 1]


@pytest.mark.parametrize("processes", [None, 3])
def test_the_configuration_that_is_written_gives_the_same_experiment(processes: int | None) -> None:
    asked = {
        "algorithms": {"actor-critic": {"gamma": 0.9, "schedule": "linear"}, "ppo": {"stop_kl": 0.02}, "reinforce": {}},
        "env": "Acrobot-v1",
        "env_options": {"max_episode_steps": 50},
        "hidden": "8",
        "processes": processes,
        "seed": 3,
    }
    plan = experiment(asked)
    again = experiment(yaml.safe_load(yaml.safe_dump(plan.as_dict())))
    assert again == plan
    assert again.methods[1].control.gamma == 0.9
    assert again.hidden == (8,)


def test_the_written_configuration_does_not_lean_on_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hyperparameter is written down, so that other presets of a later version change nothing."""
    written = experiment({"algorithms": "ppo"}).as_dict()
    before = experiment(written)
    monkeypatch.setattr("burnish.recipes.control.settings.PRESETS", {"CartPole-v1": {"ppo": {"copies": 77}}})
    assert experiment({"algorithms": "ppo"}).methods[0].control.copies == 77
    assert experiment(written) == before
