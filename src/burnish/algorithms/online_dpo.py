"""Direct preference optimisation on pairs that the policy samples itself."""

from dataclasses import dataclass

from burnish.algorithms.dpo import DPO
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.pairs import beta_option, nll_option, smoothing_option
from burnish.algorithms.terms import Loss
from burnish.batches import PreparedPreferences
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class OnlineDPO(Algorithm):
    """DPO's loss on two completions of the current policy, the better one by a reward against the worse.

    L(θ) = −E log σ(β·(Δ_y⁺ − Δ_y⁻)),  y⁺, y⁻ ~ π_θ(·|x),  Δ = log π_θ(y|x) − log π_ref(y|x); no gradient through the
    sampling.

    Guo et al. (2024), "Direct Language Model Alignment from Online AI Feedback", algorithm 1. `label_smoothing` and
    `nll_weight` are DPO's own; the latter, with iterations, makes it the method of Pang et al. (2024), "Iterative
    Reasoning Preference Optimization".
    """

    name = "online_dpo"
    data = "prompts"
    experience = "burnish.experience.language.pairs:Pairs"
    prepares_alone = True
    paper = "Guo et al. 2024"

    beta: float = beta_option(0.1)
    label_smoothing: float = smoothing_option(0.0, "probability that a label is flipped (cDPO)")
    nll_weight: float = nll_option()
    update_epochs: int = option(1, "passes over each rollout", ge=1)

    @property
    def passes(self) -> int:
        return self.update_epochs

    def prepare(self, models: Models, part: PreparedPreferences, statistics: Statistics) -> PreparedPreferences:
        """Sampled pairs come with the log-probabilities of their reference, which may be newer than the start."""
        return part

    def loss(self, models: Models, batch: PreparedPreferences) -> Loss:
        offline = DPO(beta=self.beta, label_smoothing=self.label_smoothing, nll_weight=self.nll_weight)
        return offline.loss(models, batch)
