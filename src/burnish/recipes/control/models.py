"""The models and the learner of a group of runs."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch

from burnish.experience.control.environments import Environments
from burnish.policies.control.network import Network
from burnish.policies.control.squashed import Temperature
from burnish.policies.interface import Models, Part
from burnish.training.control.lockstep import LockstepLearner
from burnish.training.control.rows import RowLearner
from burnish.training.control.tabular import TabularLearner
from burnish.training.control.trust_region import TrustRegionLearner


def network_of(environments: Environments, hidden: tuple[int, ...], algorithm: Any) -> Network:
    """The networks of an algorithm for these environments."""
    made = environments
    sizes = (made.observations, made.actions, made.continuous, hidden, made.choices, made.image)
    return Network(*sizes, algorithm.head, algorithm.activation)


def models_of(algorithm: Any, network: Network, seeds: Sequence[int], dtype: torch.dtype = torch.float32) -> Models:
    """The models that an algorithm uses, for one run per seed; copies that follow others begin equal to them."""
    models = Models(policy=network.policy(seeds, dtype))
    if algorithm.head == "squashed":
        critics = {f"critic_{k}": Part("critic", network.action_critic(seeds, k, dtype)) for k in (1, 2)}
        models = models.having(**critics)
        if "temperature" in algorithm.needs:
            models = models.having(temperature=Temperature(len(seeds), dtype=dtype))
    elif "critic" in algorithm.roles:
        models = models.having(critic=network.critic(seeds, dtype))
    copies = {copy: deepcopy(models.parts[model].model) for copy, model in algorithm.follows.items()}
    return models.having(**{name: Part("target", model) for name, model in copies.items()})


def learner_of(algorithm: Any) -> type[Any]:
    """The class of the learner that an algorithm's batches need."""
    if algorithm.head == "table":
        return TabularLearner
    if algorithm.replays:
        return RowLearner
    return TrustRegionLearner if algorithm.region() else LockstepLearner
