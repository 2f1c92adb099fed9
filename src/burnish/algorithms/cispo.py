"""Policy optimisation with clipped importance weights."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.group import (
    Advantage,
    Estimator,
    GroupGradient,
    KLIn,
    Over,
    advantage_option,
    beta_option,
    check_standardised,
    clip_option,
    compared,
    entropy_option,
    epochs_option,
    kl_estimator_option,
    kl_in_option,
    over_option,
    std_correction_option,
    std_eps_option,
)
from burnish.batches import PreparedEpisodes
from burnish.functional import clipped_weight


@dataclass(frozen=True)
class CISPO(GroupGradient):
    """REINFORCE on groups, each token's term weighted with its clipped probability ratio.

    L(θ) = mean_it [ −sg[clip(ρ_it, 1 − clip_low, 1 + clip_high)] A_i log π_θ(y_it) ],
    ρ_it = π_θ(y_it)/π_old(y_it),  A_i = (r_i − mean(r)) / (std(r) + std_eps)

    MiniMax (2025), "MiniMax-M1", eqs. 4 and 5. The weight is a constant, so that clipping removes no token's gradient.
    Differs: the paper has no lower limit, as the default here, and does not publish its upper one; a weight of at most
    5 is what Khatri et al. (2025), "The Art of Scaling Reinforcement Learning Compute for LLMs", found to work.
    """

    name = "cispo"
    paper = "MiniMax 2025"

    advantage: Advantage = advantage_option()
    std_correction: int = std_correction_option()
    std_eps: float = std_eps_option()
    clip_low: float | None = clip_option(None, "lower")
    clip_high: float = clip_option(4.0, "upper")
    over: Over = over_option("token")
    beta: float = beta_option(0.0)
    kl_in: KLIn = kl_in_option("loss")
    kl_estimator: Estimator | None = kl_estimator_option()
    entropy_weight: float = entropy_option()
    update_epochs: int = epochs_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_standardised(self)

    def baseline(self, scores: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
        return compared(self.advantage, scores, self.std_correction, self.std_eps)

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        old, clips = batch.batch.old_logprobs, (math.inf if self.clip_low is None else self.clip_low, self.clip_high)
        losses = clipped_weight(logprobs, old, batch.advantages, *clips)
        log_ratio = (logprobs - old).detach()
        ratio = log_ratio.exp()
        return losses, {
            "policy/approxkl_avg": 0.5 * log_ratio.square(),
            "policy/clipfrac_avg": (ratio != ratio.clamp(1 - clips[0], 1 + clips[1])).float(),
            "val/ratio": ratio,
        }
