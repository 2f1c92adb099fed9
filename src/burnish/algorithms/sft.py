"""Supervised fine-tuning: imitate demonstrations."""

from dataclasses import dataclass
from typing import Literal

from burnish.algorithms.interface import Algorithm
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Demonstrations
from burnish.functional import policy_gradient
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class SFT(Algorithm):
    """Maximum likelihood of the response given the prompt.

    L(θ) = − mean_t log π_θ(y_t | x, y_<t), over response tokens only. It is the policy gradient with advantage 1 on
    actions that somebody else took.

    Ouyang et al. (2022), "Training language models to follow instructions with human feedback", section 3.5.
    """

    name = "sft"
    learning_rate = 2e-5
    dropout = True
    paper = "Ouyang et al. 2022"

    over: Literal["token", "sequence"] = option(
        "token", "average over all response tokens, or per text and then over texts"
    )

    def loss(self, models: Models, batch: Demonstrations) -> Loss:
        logprobs = models.policy.logprobs(batch)
        losses = policy_gradient(logprobs, logprobs.new_ones(()).expand_as(logprobs))
        return Loss({"nll": Term(losses, batch.mask, self.over)})
