"""Anchored preference optimisation for good data."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option
from burnish.functional import apo_zero


@dataclass(frozen=True)
class APOZero(Pairwise):
    """Pushes the chosen response above the reference and the rejected one below it.

    L(θ) = E [ 1 − σ(β·Δ_chosen) + σ(β·Δ_rejected) ],  Δ = log π_θ(y|x) − log π_ref(y|x)

    For chosen responses that are better than what the policy writes, whose likelihood DPO may reduce.

    D'Oosterlinck et al. (2024), "Anchored Preference Optimization and Contrastive Revisions", eq. 7.
    """

    name = "apo_zero"
    paper = "D'Oosterlinck et al. 2024"

    beta: float = beta_option(0.1)

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return apo_zero(chosen, rejected, self.beta)
