"""REINFORCE with PPO's clipping and advantages standardised over the whole rollout."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.advantages import advantage_moments
from burnish.algorithms.group import (
    GroupGradient,
    KLIn,
    Over,
    beta_option,
    clip_option,
    clipped_tokens,
    dual_clip_option,
    kl_in_option,
    over_option,
)
from burnish.algorithms.interface import Statistics
from burnish.batches import GroupEpisodes, PreparedEpisodes
from burnish.functional import group_centre
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class ReinforcePlusPlus(GroupGradient):
    """PPO's clipped surrogate whose advantages are returns, standardised over all tokens of a rollout: no critic.

    L(θ) = mean_it [ −min(ρ_it Â_it, clip(ρ_it, 1 − clip_low, 1 + clip_high) Â_it) ],
    A_it = r_i − β Σ_{s≥t} log(π_old(y_is)/π_ref(y_is)),  Â = (A − mean(A)) / √(var(A) + 1e-8)

    Hu et al. (2025), "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization".
    Its variant for several completions per prompt, the preset `baseline`, subtracts their mean from r_i first
    (`group_mean`) and has the KL penalty in the loss.
    Differs: the variance of the standardisation is that of the population, as PPO's here.
    """

    name = "reinforce_plus_plus"
    experience = "burnish.experience.language.group_completions:LooseCompletions"
    paper = "Hu et al. 2025"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "baseline": {"group_mean": True, "kl_in": "loss", "kl_estimator": "k2", "completions_per_prompt": 4}
    }

    group_mean: bool = option(False, "subtract the mean of the prompt's completions from a score first")
    clip_low: float = clip_option(0.2, "lower")
    clip_high: float = clip_option(0.2, "upper")
    dual_clip: float | None = dual_clip_option()
    over: Over = over_option("token")
    beta: float = beta_option(0.01)
    kl_in: KLIn = kl_in_option("reward")

    @property
    def compares(self) -> bool:
        return self.group_mean

    def baseline(self, scores: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
        return group_centre(scores) if self.group_mean else scores

    def statistics(self, models: Models, part: GroupEpisodes) -> Statistics:
        return advantage_moments(self.advantages(part), part.mask, wanted=True)

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        return clipped_tokens(logprobs, batch, self.clip_low, self.clip_high, self.dual_clip)
