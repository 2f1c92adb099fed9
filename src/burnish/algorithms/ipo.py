"""Identity preference optimisation."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise
from burnish.functional import ipo
from burnish.options import option


@dataclass(frozen=True)
class IPO(Pairwise):
    """Regression of the difference of a pair's log-ratios on a fixed target, which the policy is not to exceed.

    L(θ) = E (Δ_chosen − Δ_rejected − 1/(2τ))²,  Δ = log π_θ(y|x) − log π_ref(y|x)

    Labels that never vary drive DPO's log-ratios to infinity; here they are worth 1/(2τ). A confidence p of the data
    gives the target (p − ½)/τ.

    Azar et al. (2023), "A General Theoretical Paradigm to Understand Learning from Human Preferences", eq. 17.
    `log_ratios` "sum" is the paper's formula, with Δ of whole responses; "mean" takes the mean over a response's
    tokens, as codes do, so that 1/(2τ) is a distance per token.
    """

    name = "ipo"
    soft_labels = True
    paper = "Azar et al. 2023"

    tau: float = option(0.1, "the target of the difference of log-ratios is 1/(2τ)", gt=0)
    log_ratios: Literal["sum", "mean"] = option("sum", "log-ratios of whole responses, or their means per token")

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = self.ratios(pairs).unbind(-1)
        return ipo(chosen, rejected, self.tau, pairs.confidence)

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        return self.tau * self.ratios(pairs)

    def ratios(self, pairs: PairLogprobs) -> Tensor:
        return pairs.logratios if self.log_ratios == "sum" else pairs.mean_logratios
