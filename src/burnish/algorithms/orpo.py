"""Odds-ratio preference optimisation."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise
from burnish.functional import orpo_odds
from burnish.options import option


@dataclass(frozen=True)
class ORPO(Pairwise):
    """Imitation of the chosen response plus an odds ratio against the rejected one: one run, no reference.

    L(θ) = NLL(chosen) − odds_weight · E log σ(log odds(chosen) − log odds(rejected)),  odds = p/(1 − p),

    p = exp((1/|y|) log π_θ(y|x)). NLL is a mean over all tokens of chosen responses.

    Hong et al. (2024), "ORPO: Monolithic Preference Optimization without Reference Model", eq. 6 and 7; the weight is
    its λ, which codes call β.
    Differs: some codes imitate the prompt as well; the loss here covers responses alone.
    """

    name = "orpo"
    roles = ("policy",)
    learning_rate = 8e-6
    paper = "Hong et al. 2024"

    odds_weight: float = option(0.1, "weight of the odds ratio beside imitation", gt=0)

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.mean_logps.unbind(-1)
        return orpo_odds(chosen, rejected)

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        return self.odds_weight * pairs.mean_logps

    def weights(self) -> tuple[float, float]:
        return self.odds_weight, 1.0
