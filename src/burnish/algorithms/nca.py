"""Noise contrastive alignment on pairs."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option
from burnish.functional import nca_pair


@dataclass(frozen=True)
class NCA(Pairwise):
    """Separates each response from noise drawn from the reference, so that the chosen one stays likely.

    L(θ) = E [ −log σ(c) − ½ log σ(−c) − ½ log σ(−r) ],  c = β·Δ_chosen, r = β·Δ_rejected

    Δ is a response's log-ratio to the reference. The minimum over c alone is at log 2.

    Chen et al. (2024), "Noise Contrastive Alignment of Language Models with Explicit Rewards", for pairs.
    """

    name = "nca"
    paper = "Chen et al. 2024"

    beta: float = beta_option(0.01)

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return nca_pair(chosen, rejected, self.beta)
