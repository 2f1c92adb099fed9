"""DPO for labels with a known share of errors."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option, smoothing_option
from burnish.functional import robust_dpo


@dataclass(frozen=True)
class RobustDPO(Pairwise):
    """DPO, corrected so that its mean over labels flipped with probability ε is the loss on the correct labels.

    L(θ) = E [ −(1 − ε) log σ(z) + ε log σ(−z) ] / (1 − 2ε),  z = β·(Δ_chosen − Δ_rejected)

    Where conservative DPO stops at the odds of the noise, this continues as if there were none, with a larger
    variance. Δ is a response's log-ratio to the reference.

    Chowdhury et al. (2024), "Provably Robust DPO: Aligning Language Models with Noisy Feedback".
    """

    name = "robust_dpo"
    paper = "Chowdhury et al. 2024"

    beta: float = beta_option(0.1)
    label_smoothing: float = smoothing_option(0.1, "share of labels that are known to be flipped")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logratios.unbind(-1)
        return robust_dpo(chosen, rejected, self.beta, self.label_smoothing)
