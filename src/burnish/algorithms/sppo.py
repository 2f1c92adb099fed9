"""Self-play preference optimisation on pairs."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option
from burnish.functional import sppo


@dataclass(frozen=True)
class SPPO(Pairwise):
    """Regression of each response's log-ratio on its win rate.

    L(θ) = E [ (Δ_chosen − (p − ½)/β)² + (Δ_rejected + (p − ½)/β)² ],  Δ = log π_θ(y|x) − log π_ref(y|x)

    p is the data's confidence, or 1 without one: the hard form. Unlike IPO it gives each response its own target.

    Wu et al. (2024), "Self-Play Preference Optimization for Language Model Alignment", eq. 4.7, whose η = 10³ is 1/β.
    Differs: one round on given pairs; the paper samples again in each round, and rates against all samples.
    """

    name = "sppo"
    soft_labels = True
    paper = "Wu et al. 2024"

    beta: float = beta_option(0.001, "the targets of the log-ratios are ±1/(2β)")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return sppo(chosen, rejected, self.beta, pairs.confidence)
