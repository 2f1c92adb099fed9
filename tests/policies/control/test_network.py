"""The description of networks: what it makes, and that JSON keeps it."""

import json
from typing import Any

import pytest

from burnish.policies.control.network import Network, noise_shape


@pytest.mark.parametrize("continuous", [False, True])
def test_a_description_in_json_makes_the_same_networks(continuous: bool) -> None:
    network = Network(3, 2, continuous, (5, 4))
    again = Network.from_dict(json.loads(json.dumps(network.as_dict())))
    assert again == network
    policy, critic = again.policy([7, 8]), again.critic([7, 8])
    assert (policy.sizes, policy.continuous, policy.runs) == ((3, 5, 4, 2), continuous, 2)
    assert critic.sizes == (3, 5, 4, 1)
    assert (policy.theta == network.policy([7, 8]).theta).all()


def test_images_and_choices_are_described_too() -> None:
    network = Network(192, 5, False, (4,), (2, 3), (3, 8, 8))
    again = Network.from_dict(json.loads(json.dumps(network.as_dict())))
    assert again == network
    policy, critic = again.policy([7]), again.critic([7])
    assert policy.choices == (2, 3)
    for made in (policy, critic):
        assert made.images is not None
        assert made.images.image == (3, 8, 8)
    assert (policy.theta == network.policy([7]).theta).all()


def test_an_action_is_drawn_from_a_number_or_several() -> None:
    assert noise_shape(Network(3, 5, False, (4,))) == ()
    assert noise_shape(Network(3, 5, True, (4,))) == (5,)
    assert noise_shape(Network(3, 5, False, (4,), (2, 3))) == (2,)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": [0]},
        {"actions": 2.5},
        {"continuous": 1},
        {"filters": [3]},
        {"observations": "4"},
        {"choices": [2, 1]},
        {"choices": [2], "continuous": True},
        {"image": [1, 2, 2]},
        {"image": [3]},
        {"head": "tail"},
        {"activation": "sine"},
    ],
)
def test_another_description_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="network"):
        Network.from_dict(Network(3, 2, False, (5,)).as_dict() | change)
    with pytest.raises(ValueError, match="network"):
        Network.from_dict({"observations": 3})


@pytest.mark.parametrize(
    ("head", "kind"), [("values", "ValuePolicy"), ("table", "TablePolicy"), ("squashed", "Squashed")]
)
def test_a_description_says_what_the_outputs_are(head: str, kind: str) -> None:
    network = Network(3, 2, head == "squashed", (5,), head=head, activation="relu")  # type: ignore[arg-type]
    again = Network.from_dict(json.loads(json.dumps(network.as_dict())))
    assert again == network
    policy = again.policy([7, 8])
    assert type(policy).__name__.startswith(kind)
    assert (policy.theta == network.policy([7, 8]).theta).all()
    assert head == "table" or policy.activation == "relu"
    if head == "squashed":
        critic = again.action_critic([7], 2)
        assert critic.activation == "relu"
        assert critic.sizes == (5, 5, 1)
        assert (critic.theta == network.action_critic([7, 8], 2).theta[0]).all()


def test_older_descriptions_name_no_head_and_no_activation() -> None:
    saved = Network(3, 2, False, (5,)).as_dict()
    del saved["head"], saved["activation"]
    assert Network.from_dict(saved) == Network(3, 2, False, (5,))
