"""Direct preference optimisation."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from burnish.algorithms.pairs import (
    PairLogprobs,
    Pairwise,
    beta_option,
    nll_option,
    refused,
    smoothing_option,
    unused_margins,
)
from burnish.batches import Preferences
from burnish.functional import alpha_reward, dpo, forward_kl_reward, js_reward
from burnish.options import option


@dataclass(frozen=True)
class DPO(Pairwise):
    """The reward model's own Bradley–Terry loss, on the rewards that the policy implies.

    L(θ) = −E log σ(β·(Δ_chosen − Δ_rejected)),  Δ = log π_θ(y|x) − log π_ref(y|x), summed over the response.

    Rafailov et al. (2023), "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", eq. 7.
    With `label_smoothing` ε, labels are assumed to be flipped with probability ε (conservative DPO, Mitchell 2023).
    With `length_normalised`, Δ is a mean over the response's tokens (Lambert et al. 2024, "Tülu 3").
    With a `divergence`, Δ is f′ of the ratio (Wang et al. 2023, "Beyond Reverse KL"); f′ = log is the reverse KL's.
    With `nll_weight` w, w times the mean negative log-likelihood of the tokens of chosen responses is added (Pang et
    al. 2024, "Iterative Reasoning Preference Optimization"; Dubey et al. 2024, "The Llama 3 Herd of Models": 0.2).
    With `margin_weight` w, w times the data's margin is subtracted before σ, so that a response that is much better has
    to become much likelier (Touvron et al. 2023, "Llama 2", eq. 2, there for a reward model).

    Confidences of the data replace certain labels. Differs: Pang et al. divide each response's likelihood by its own
    length; here every token counts the same.
    """

    name = "dpo"
    soft_labels = True
    paper = "Rafailov et al. 2023"

    beta: float = beta_option(0.1)
    label_smoothing: float = smoothing_option(0.0, "probability that a label is flipped (cDPO)")
    length_normalised: bool = option(False, "use mean log-ratios per token; beta then has to be larger")
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = option(
        "reverse_kl", "the divergence from the reference"
    )
    alpha: float | None = option(
        None, "parameter of the alpha divergence: near 0 reverse KL, near 1 forward KL", gt=0, lt=1
    )
    nll_weight: float = nll_option()
    margin_weight: float = option(0.0, "weight of the data's margins", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.divergence == "alpha") != (self.alpha is not None):
            raise ValueError("alpha only applies to the divergence alpha: set both, or neither")
        if self.length_normalised and self.divergence != "reverse_kl":
            raise ValueError(
                f"length_normalised does not go together with the divergence {self.divergence}, which is defined on "
                "the ratio of whole responses: drop one of them"
            )

    def losses(self, pairs: PairLogprobs) -> Tensor:
        chosen, rejected = self.implied(pairs).unbind(-1)
        margin = self.margin_weight * pairs.margins
        return dpo(chosen, rejected, self.beta, self.label_smoothing, margin, pairs.confidence)

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        return self.beta * self.implied(pairs)

    def implied(self, pairs: PairLogprobs) -> Tensor:
        """The rewards that log-ratios imply under the divergence, divided by β."""
        if self.length_normalised:
            return pairs.mean_logratios
        if self.divergence == "forward_kl":
            return forward_kl_reward(pairs.logratios)
        if self.divergence == "js":
            return js_reward(pairs.logratios)
        return pairs.logratios if self.alpha is None else alpha_reward(pairs.logratios, self.alpha)

    def weights(self) -> tuple[float, float]:
        return 1.0, self.nll_weight

    def refuses(self, batch: Preferences, responses: int) -> str | None:
        return refused(self, batch, responses, uses_margins=self.margin_weight > 0)

    def leaves_unused(self, batch: Preferences) -> str | None:
        return unused_margins(batch, self.margin_weight)
