"""Burnish: post-training for language models, from REINFORCE to DPO."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.algorithms.actor_critic import ActorCritic
    from burnish.algorithms.apo_down import APODown
    from burnish.algorithms.apo_zero import APOZero
    from burnish.algorithms.cpo import CPO
    from burnish.algorithms.dpo import DPO
    from burnish.algorithms.exo import EXO
    from burnish.algorithms.hinge import Hinge
    from burnish.algorithms.ipo import IPO
    from burnish.algorithms.kto import KTO
    from burnish.algorithms.nca import NCA
    from burnish.algorithms.online_dpo import OnlineDPO
    from burnish.algorithms.orpo import ORPO
    from burnish.algorithms.ppo import PPO
    from burnish.algorithms.reinforce import Reinforce
    from burnish.algorithms.reinforce_baseline import ReinforceBaseline
    from burnish.algorithms.rejection import Rejection
    from burnish.algorithms.reward_model import RewardModel
    from burnish.algorithms.robust_dpo import RobustDPO
    from burnish.algorithms.sft import SFT
    from burnish.algorithms.simpo import SimPO
    from burnish.algorithms.sppo import SPPO
    from burnish.algorithms.trpo import TRPO
    from burnish.recipes.control.classic import classic
    from burnish.recipes.train.run import train

__version__ = "0.1.0"
__all__ = [
    "CPO",
    "DPO",
    "EXO",
    "IPO",
    "KTO",
    "NCA",
    "ORPO",
    "PPO",
    "SFT",
    "SPPO",
    "TRPO",
    "APODown",
    "APOZero",
    "ActorCritic",
    "Hinge",
    "OnlineDPO",
    "Reinforce",
    "ReinforceBaseline",
    "Rejection",
    "RewardModel",
    "RobustDPO",
    "SimPO",
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
        "OnlineDPO": "burnish.algorithms.online_dpo",
        "PPO": "burnish.algorithms.ppo",
        "Reinforce": "burnish.algorithms.reinforce",
        "ReinforceBaseline": "burnish.algorithms.reinforce_baseline",
        "Rejection": "burnish.algorithms.rejection",
        "RewardModel": "burnish.algorithms.reward_model",
        "SFT": "burnish.algorithms.sft",
        "TRPO": "burnish.algorithms.trpo",
        "APODown": "burnish.algorithms.apo_down",
        "APOZero": "burnish.algorithms.apo_zero",
        "CPO": "burnish.algorithms.cpo",
        "EXO": "burnish.algorithms.exo",
        "Hinge": "burnish.algorithms.hinge",
        "IPO": "burnish.algorithms.ipo",
        "KTO": "burnish.algorithms.kto",
        "NCA": "burnish.algorithms.nca",
        "ORPO": "burnish.algorithms.orpo",
        "RobustDPO": "burnish.algorithms.robust_dpo",
        "SPPO": "burnish.algorithms.sppo",
        "SimPO": "burnish.algorithms.simpo",
        "classic": "burnish.recipes.control.classic",
        "train": "burnish.recipes.train.run",
    }
    if name in homes:
        return getattr(import_module(homes[name]), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")
