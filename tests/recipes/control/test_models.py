"""Which models and which learner an algorithm gets."""

import pytest
import torch

from burnish.algorithms.sac import SAC
from burnish.algorithms.table import CONTROL, load
from burnish.experience.control.environments import make_environments
from burnish.policies.control.network import Network
from burnish.recipes.control.models import learner_of, models_of, network_of

NETWORKS = {
    "q_learning": Network(3, 2, False, (), head="table"),
    "dqn": Network(3, 2, False, (4,), head="values", activation="relu"),
    "sac": Network(3, 2, True, (4,), head="squashed", activation="relu"),
}
PARTS = {
    "reinforce": {"policy": "policy"},
    "q_learning": {"policy": "policy"},
    "dqn": {"policy": "policy", "target": "target"},
    "sac": {
        "policy": "policy",
        "critic_1": "critic",
        "critic_2": "critic",
        "temperature": "temperature",
        "target_1": "target",
        "target_2": "target",
    },
}
LEARNERS = {"trpo": "TrustRegionLearner", "q_learning": "TabularLearner", "dqn": "RowLearner", "sac": "RowLearner"}


@pytest.mark.parametrize("name", CONTROL)
def test_an_algorithm_has_its_models_and_learner(name: str) -> None:
    algorithm = load(name)()
    models = models_of(algorithm, NETWORKS.get(name, Network(3, 2, False, (4,))), [1, 2])
    roles = {part: value.role for part, value in models.parts.items()}
    assert roles == PARTS.get(name, {"policy": "policy", "critic": "critic"})
    assert set(roles.values()) == {*algorithm.roles, *algorithm.needs}
    assert learner_of(algorithm).__name__ == LEARNERS.get(name, "LockstepLearner")


def test_networks_of_off_policy_methods_have_relu() -> None:
    """As those of their papers: values of hundreds are out of reach of tanh for thousands of updates."""
    worlds = {"dqn": "CartPole-v1", "sac": "Pendulum-v1", "ppo": "CartPole-v1", "q_learning": "FrozenLake-v1"}
    for name, env in worlds.items():
        network = network_of(make_environments(env, [1], 1), (4,), load(name)())
        assert network.activation == ("relu" if name in ("dqn", "sac") else "tanh")
        if name in NETWORKS:
            assert network.head == NETWORKS[name].head
    models = models_of(SAC(), NETWORKS["sac"], [1])
    kinds = {name: part.model.activation for name, part in models.parts.items() if name != "temperature"}  # type: ignore[attr-defined]
    assert set(kinds.values()) == {"relu"}


def test_copies_begin_equal_and_are_their_own() -> None:
    models = models_of(SAC(), NETWORKS["sac"], [1, 2])
    for k in (1, 2):
        copied, theta = models.parts[f"target_{k}"].model.theta, models.parts[f"critic_{k}"].model.theta
        assert torch.equal(copied, theta)
        theta.detach().add_(1)
        assert not torch.equal(copied, theta)


def test_a_temperature_that_is_given_is_no_model() -> None:
    assert "temperature" not in models_of(SAC(temperature=0.1), NETWORKS["sac"], [1])
