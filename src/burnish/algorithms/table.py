"""The methods there are. Configuration, command line, docs and report all follow this table."""

from dataclasses import dataclass
from typing import Any

from burnish.algorithms.dpo import DPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT


@dataclass(frozen=True)
class Entry:
    """A method: its dataclass, the kind of data it learns from, the learning rate that it has by default, what it
    trains beside a critic, whether its reference is a table computed once a row, and whether dropout may be on."""

    algorithm: type[Any]
    summary: str
    data: str
    learning_rate: float
    trains: str = "policy"
    reference: bool = False
    dropout: bool = False


ALGORITHMS = {
    "sft": Entry(SFT, "Supervised fine-tuning on demonstrations", "demonstrations", 2e-5, dropout=True),
    "reward": Entry(RewardModel, "A reward model from comparisons", "preferences", 1e-5, trains="scorer"),
    "ppo": Entry(PPO, "Proximal policy optimisation of a reward, with a price on KL", "prompts", 3e-6),
    "dpo": Entry(DPO, "Direct preference optimisation on comparisons", "preferences", 1e-6, reference=True),
}


def name_of(algorithm: object) -> str:
    """The table's name of an algorithm object. Raises TypeError for what is none."""
    for name, entry in ALGORITHMS.items():
        if type(algorithm) is entry.algorithm:
            return name
    known = ", ".join(f"{entry.algorithm.__name__}()" for entry in ALGORITHMS.values())
    raise TypeError(f"{algorithm!r} is no algorithm: give one of {known}")
