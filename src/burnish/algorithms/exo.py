"""Efficient exact optimisation on pairs."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option, smoothing_option
from burnish.functional import exo_pair


@dataclass(frozen=True)
class EXO(Pairwise):
    """The reverse KL divergence from the policy's choice between two responses to the labels' odds.

    L(θ) = E [ σ(z) log(σ(z)/p) + σ(−z) log(σ(−z)/(1 − p)) ],  z = β·(Δ_chosen − Δ_rejected),  p = 1 − ε

    DPO has the forward KL, which covers what the labels allow; the reverse one picks the best of it. Δ is a response's
    log-ratio to the reference. A confidence c of the data makes p = (1 − ε)·c + ε·(1 − c).

    Ji et al. (2024), "Towards Efficient Exact Optimization of Language Model Alignment", eq. 16.
    """

    name = "exo"
    soft_labels = True
    paper = "Ji et al. 2024"

    beta: float = beta_option(0.1)
    label_smoothing: float = smoothing_option(
        1e-3, "probability that a label is flipped; 0 would make the loss infinite", positive=True
    )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return exo_pair(chosen, rejected, self.beta, self.label_smoothing, pairs.confidence)
