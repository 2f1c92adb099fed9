"""Group sequence policy optimisation."""

from dataclasses import dataclass

import torch
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
    ratio_metrics,
    row_advantages,
    std_correction_option,
    std_eps_option,
)
from burnish.batches import PreparedEpisodes
from burnish.functional import clipped_surrogate, sequence_log_ratio


@dataclass(frozen=True)
class GSPO(GroupGradient):
    """GRPO with one probability ratio per completion: the geometric mean of its tokens' ratios.

    L(θ) = mean_i [ −min(s_i A_i, clip(s_i, 1 − clip_low, 1 + clip_high) A_i) ],
    s_i = exp( mean_t log(π_θ(y_it)/π_old(y_it)) ),  A_i = (r_i − mean(r)) / (std(r) + std_eps)

    Zheng et al. (2025), "Group Sequence Policy Optimization", eqs. 5 to 7; the clip range: section 5.1. A mean of
    log-ratios is far nearer to 0 than a token's, hence the narrow range. `policy/clipfrac_avg` counts completions.
    Differs: the standard deviation is of a sample (n − 1), with std_eps added; the paper does not define it.
    """

    name = "gspo"
    paper = "Zheng et al. 2025"

    advantage: Advantage = advantage_option()
    std_correction: int = std_correction_option()
    std_eps: float = std_eps_option()
    clip_low: float = clip_option(3e-4, "lower")
    clip_high: float = clip_option(4e-4, "upper")
    over: Over = over_option("sequence")
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
        log_ratio = sequence_log_ratio(logprobs, batch.batch.old_logprobs, batch.mask, mean=True)[:, None]
        clips = (self.clip_low, self.clip_high)
        losses = clipped_surrogate(log_ratio, torch.zeros_like(log_ratio), batch.advantages, *clips)
        return losses, ratio_metrics(log_ratio[:, 0], row_advantages(batch), *clips)
