"""Simple preference optimisation."""

from dataclasses import dataclass

from torch import Tensor

from burnish.algorithms.pairs import PairLogprobs, Pairwise, beta_option
from burnish.functional import simpo
from burnish.options import option


@dataclass(frozen=True)
class SimPO(Pairwise):
    """Bradley–Terry on mean log-probabilities per token, with a margin and without a reference.

    L(θ) = −E log σ(β·(ℓ_chosen − ℓ_rejected) − γ),  ℓ = (1/|y|) log π_θ(y|x)

    It trains the quantity that sampling follows, and length is not rewarded. Only the learning rate keeps the policy
    near its start.

    Meng et al. (2024), "SimPO: Simple Preference Optimization with a Reference-Free Reward", eq. 6; the defaults of β
    and γ are those of its Llama-3 base setting. γ is not a fraction of β, as it is in some codes.
    """

    name = "simpo"
    roles = ("policy",)
    soft_labels = True
    paper = "Meng et al. 2024"

    beta: float = beta_option(2.0, "scale of the mean log-probabilities")
    gamma: float = option(1.0, "margin between the scaled log-probabilities", ge=0)

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = pairs.mean_logps.unbind(-1)
        return simpo(chosen, rejected, self.beta, self.gamma, pairs.confidence)

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        return self.beta * pairs.mean_logps
