"""Burnish: post-training for language models, from REINFORCE to DPO."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.algorithms.dpo import DPO
    from burnish.algorithms.ppo import PPO
    from burnish.algorithms.reward_model import RewardModel
    from burnish.algorithms.sft import SFT
    from burnish.recipes.train import train

__version__ = "0.1.0"
__all__ = ["DPO", "PPO", "SFT", "RewardModel", "__version__", "train"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import burnish.functional` costs no more than torch."""
    from importlib import import_module

    if name == "functional":
        return import_module("burnish.functional")
    homes = {
        "DPO": "burnish.algorithms.dpo",
        "PPO": "burnish.algorithms.ppo",
        "RewardModel": "burnish.algorithms.reward_model",
        "SFT": "burnish.algorithms.sft",
        "train": "burnish.recipes.train",
    }
    if name in homes:
        return getattr(import_module(homes[name]), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")
