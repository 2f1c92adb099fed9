"""A hinge loss on implicit rewards."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option, nll_option
from burnish.functional import hinge


@dataclass(frozen=True)
class Hinge(Pairwise):
    """A hinge loss on the implicit rewards of a pair: nothing to gain beyond a margin.

    L(θ) = E max(0, 1 − β·(Δ_chosen − Δ_rejected)),  Δ = log π_θ(y|x) − log π_ref(y|x)

    Zhao et al. (2023), "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", eq. 1; against a reference, as
    in Liu et al. (2023), "Statistical Rejection Sampling Improves Preference Optimization".
    Differs: SLiC-HF has no reference and a margin δ, here 1/β, on log-probabilities; its regulariser towards a
    fine-tuning target is here `nll_weight` times the negative log-likelihood of the chosen responses.
    """

    name = "hinge"
    paper = "Zhao et al. 2023"

    beta: float = beta_option(0.1, "the margin between log-ratios is 1/β")
    nll_weight: float = nll_option()

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return hinge(chosen, rejected, self.beta)

    def weights(self) -> tuple[float, float]:
        return 1.0, self.nll_weight
