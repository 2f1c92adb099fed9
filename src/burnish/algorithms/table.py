"""The built-in methods, for the command line and the generated lists. Nothing is imported until it is used."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A method: its module in this folder, its class, and one line about it."""

    module: str
    cls: str
    summary: str


LANGUAGE = {
    "sft": Entry("sft", "SFT", "Supervised fine-tuning on demonstrations"),
    "reward": Entry("reward_model", "RewardModel", "A reward model from comparisons (Bradley-Terry)"),
    "ppo": Entry("ppo", "PPO", "Proximal policy optimization, with a KL penalty"),
    "grpo": Entry("grpo", "GRPO", "PPO on groups of completions, without a critic"),
    "rloo": Entry("rloo", "RLOO", "REINFORCE less the mean of a prompt's other completions"),
    "gspo": Entry("gspo", "GSPO", "GRPO with one probability ratio per completion"),
    "cispo": Entry("cispo", "CISPO", "REINFORCE on groups with clipped importance weights"),
    "reinforce_plus_plus": Entry(
        "reinforce_plus_plus", "ReinforcePlusPlus", "PPO with globally standardised returns, no critic"
    ),
    "distil": Entry("distil", "Distil", "Learns a teacher's probabilities on its own samples"),
    "online_dpo": Entry("online_dpo", "OnlineDPO", "DPO on pairs that are sampled and scored in training"),
    "rejection": Entry("rejection", "Rejection", "Fine-tuning on the best of n sampled completions"),
    "dpo": Entry("dpo", "DPO", "Direct preference optimization on comparisons"),
    "robust_dpo": Entry("robust_dpo", "RobustDPO", "DPO for labels with a known share of errors"),
    "hinge": Entry("hinge", "Hinge", "Hinge loss on DPO's implicit rewards, as in SLiC-HF"),
    "ipo": Entry("ipo", "IPO", "Regression of log-ratios, bounded for certain labels"),
    "orpo": Entry("orpo", "ORPO", "Imitation plus an odds ratio, without a reference"),
    "simpo": Entry("simpo", "SimPO", "Length-normalised preference loss without a reference"),
    "cpo": Entry("cpo", "CPO", "DPO without a reference, plus imitation"),
    "apo_zero": Entry("apo_zero", "APOZero", "Pushes chosen above the reference, rejected below"),
    "apo_down": Entry("apo_down", "APODown", "Pushes chosen below the reference, rejected further"),
    "exo": Entry("exo", "EXO", "The reverse of DPO's KL divergence"),
    "nca": Entry("nca", "NCA", "Contrast with noise, so that chosen ones stay likely"),
    "sppo": Entry("sppo", "SPPO", "Regression of each response's log-ratio on its win rate"),
    "kto": Entry("kto", "KTO", "Learns from single responses labelled good or bad"),
}
"""Methods for language models, each a command."""

PATH = {
    "reinforce": Entry("reinforce", "Reinforce", "Policy gradient with the whole return"),
    "reinforce_baseline": Entry("reinforce_baseline", "ReinforceBaseline", "REINFORCE minus a learned baseline"),
    "actor_critic": Entry("actor_critic", "ActorCritic", "Policy gradient with bootstrapped advantages"),
    "trpo": Entry("trpo", "TRPO", "Natural policy gradient within a KL trust region"),
    "ppo": Entry("ppo", "PPO", "Several epochs of a clipped probability ratio"),
}
"""The classical path, which `burnish classic` runs by default: each a step from the one before."""

OFF_POLICY = {
    "q_learning": Entry("q_learning", "QLearning", "A table of action values, for discrete observations"),
    "dqn": Entry("dqn", "DQN", "Q-learning with a network, on replayed steps, for discrete actions"),
    "sac": Entry("sac", "SAC", "Bounded actions along the gradient of two critics, with entropy in the return"),
}
"""Methods for control that learn the best policy's values from steps that other policies made."""

CONTROL = PATH | OFF_POLICY
"""Methods for control, run by `burnish classic`."""


def summary_of(name: str) -> str:
    """One line about a method; its name where it is not a built-in one."""
    entry = (CONTROL | LANGUAGE).get(name)
    return entry.summary if entry else name


def classes() -> dict[str, str]:
    """The module of every built-in method's class, by the name of the class."""
    return {entry.cls: f"burnish.algorithms.{entry.module}" for entry in (LANGUAGE | CONTROL).values()}


def load(name: str) -> type[Any]:
    """The class of a method: of a built-in one by its name, of any other by its import path, "module:Class".

    Raises KeyError for a name that is not in the table, ImportError or AttributeError for a path that leads nowhere.
    """
    if ":" in name:
        module, _, cls = name.partition(":")
        return getattr(import_module(module), cls)
    entry = (LANGUAGE | CONTROL)[name]
    return getattr(import_module(f"burnish.algorithms.{entry.module}"), entry.cls)
