"""Anchored preference optimisation for data worse than the policy."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option
from burnish.functional import apo_down


@dataclass(frozen=True)
class APODown(Pairwise):
    """Pushes the chosen response below the reference, and the rejected one further below.

    L(θ) = E [ σ(β·Δ_chosen) + 1 − σ(β·(Δ_chosen − Δ_rejected)) ],  Δ = log π_θ(y|x) − log π_ref(y|x)

    For comparisons of responses that are both worse than what the policy writes.

    D'Oosterlinck et al. (2024), "Anchored Preference Optimization and Contrastive Revisions", eq. 8.
    """

    name = "apo_down"
    paper = "D'Oosterlinck et al. 2024"

    beta: float = beta_option(0.1)

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return apo_down(chosen, rejected, self.beta)
