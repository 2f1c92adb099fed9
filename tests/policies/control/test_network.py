"""The description of networks: what it makes, and that JSON keeps it."""

import json
from typing import Any

import pytest

from burnish.policies.control.network import Network


@pytest.mark.parametrize("continuous", [False, True])
def test_a_description_in_json_makes_the_same_networks(continuous: bool) -> None:
    network = Network(3, 2, continuous, (5, 4))
    again = Network.from_dict(json.loads(json.dumps(network.as_dict())))
    assert again == network
    policy, critic = again.policy([7, 8]), again.critic([7, 8])
    assert (policy.sizes, policy.continuous, policy.runs) == ((3, 5, 4, 2), continuous, 2)
    assert critic.sizes == (3, 5, 4, 1)
    assert (policy.theta == network.policy([7, 8]).theta).all()


@pytest.mark.parametrize(
    "change", [{"hidden": [0]}, {"actions": 2.5}, {"continuous": 1}, {"filters": [3]}, {"observations": "4"}]
)
def test_another_description_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="network"):
        Network.from_dict(Network(3, 2, False, (5,)).as_dict() | change)
    with pytest.raises(ValueError, match="network"):
        Network.from_dict({"observations": 3})
