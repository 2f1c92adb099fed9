"""Burnish: post-training for language models, from REINFORCE to DPO."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.algorithms.actor_critic import ActorCritic
    from burnish.algorithms.dpo import DPO
    from burnish.algorithms.ppo import PPO
    from burnish.algorithms.reinforce import Reinforce
    from burnish.algorithms.reinforce_baseline import ReinforceBaseline
    from burnish.algorithms.reward_model import RewardModel
    from burnish.algorithms.sft import SFT
    from burnish.algorithms.trpo import TRPO
    from burnish.recipes.classic import classic
    from burnish.recipes.train import train

__version__ = "0.1.0"
__all__ = [
    "DPO",
    "PPO",
    "SFT",
    "TRPO",
    "ActorCritic",
    "Reinforce",
    "ReinforceBaseline",
    "RewardModel",
    "__version__",
    "classic",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import burnish.functional` costs no more than torch."""
    from importlib import import_module

    if name == "functional":
        return import_module("burnish.functional")
    homes = {
        "ActorCritic": "burnish.algorithms.actor_critic",
        "DPO": "burnish.algorithms.dpo",
        "PPO": "burnish.algorithms.ppo",
        "Reinforce": "burnish.algorithms.reinforce",
        "ReinforceBaseline": "burnish.algorithms.reinforce_baseline",
        "RewardModel": "burnish.algorithms.reward_model",
        "SFT": "burnish.algorithms.sft",
        "TRPO": "burnish.algorithms.trpo",
        "classic": "burnish.recipes.classic",
        "train": "burnish.recipes.train",
    }
    if name in homes:
        return getattr(import_module(homes[name]), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")
