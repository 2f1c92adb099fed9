"""Rejection sampling: imitate the best of one's own completions."""

from dataclasses import dataclass
from typing import Literal

from burnish.algorithms.interface import Algorithm
from burnish.algorithms.sft import SFT
from burnish.algorithms.terms import Loss
from burnish.batches import Demonstrations
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class Rejection(Algorithm):
    """Maximum likelihood of the best of n completions, sampled by the current policy and picked by a reward.

    L(θ) = − mean_t log π_θ(y*_t | x, y*_<t),  y* = argmax_k r(x, y_k),  y_1 … y_n ~ π_θ(·|x); no gradient through the
    sampling.

    Touvron et al. (2023), "Llama 2: Open Foundation and Fine-Tuned Chat Models", section 3.2.3.
    Differs: one optimizer and one schedule for all rounds, and each round learns from its own samples alone.
    """

    name = "rejection"
    data = "prompts"
    experience = "burnish.experience.language.bests:Bests"
    learning_rate = 2e-5
    dropout = True
    paper = "Touvron et al. 2023"

    over: Literal["token", "sequence"] = option(
        "token", "average over all response tokens, or per text and then over texts"
    )
    update_epochs: int = option(1, "passes over each rollout", ge=1)

    @property
    def passes(self) -> int:
        return self.update_epochs

    def loss(self, models: Models, batch: Demonstrations) -> Loss:
        return SFT(over=self.over).loss(models, batch)
