"""Contrastive preference optimisation."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option, nll_option
from burnish.functional import dpo


@dataclass(frozen=True)
class CPO(Pairwise):
    """DPO with a uniform reference, plus imitation of the chosen responses that anchors the policy.

    L(θ) = −E log σ(β·(log π_θ(chosen|x) − log π_θ(rejected|x))) + nll_weight · NLL(chosen)

    NLL is a mean over all tokens of chosen responses. No reference has to be computed.

    Xu et al. (2024), "Contrastive Preference Optimization: Pushing the Boundaries of LLM Performance in Machine
    Translation", eq. 3 and 5.
    Differs: the paper's likelihood is that of whole responses; here, as in its code, every token counts the same.
    """

    name = "cpo"
    roles = ("policy",)
    soft_labels = True
    paper = "Xu et al. 2024"

    beta: float = beta_option(0.1, "scale of the log-probabilities")
    nll_weight: float = nll_option(1.0)

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.logps.unbind(-1)
        return dpo(chosen, rejected, self.beta, confidence=pairs.confidence)

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        return self.beta * pairs.logps

    def weights(self) -> tuple[float, float]:
        return 1.0, self.nll_weight
