"""Policy optimisation with clipped importance weights."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.advantages import ratio_metrics
from burnish.algorithms.group import Compared, Over, clip_option, over_option
from burnish.batches import PreparedEpisodes
from burnish.functional import clipped_weight


@dataclass(frozen=True)
class CISPO(Compared):
    """REINFORCE on groups, each token's term weighted with its clipped probability ratio.

    L(θ) = mean_it [ −sg[clip(ρ_it, 1 − clip_low, 1 + clip_high)] A_i log π_θ(y_it) ],
    ρ_it = π_θ(y_it)/π_old(y_it),  A_i = (r_i − mean(r)) / (std(r) + std_eps)

    MiniMax (2025), "MiniMax-M1", eqs. 4 and 5. The weight is a constant, so that clipping removes no token's gradient.
    Differs: the paper has no lower limit, as the default here, and does not publish its upper one; a weight of at most
    5 is what Khatri et al. (2025), "The Art of Scaling Reinforcement Learning Compute for LLMs", found to work.
    """

    name = "cispo"
    paper = "MiniMax 2025"

    over: Over = over_option("token")
    clip_low: float | None = clip_option(None, "lower")
    clip_high: float = clip_option(4.0, "upper")

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        old, clips = batch.batch.old_logprobs, (math.inf if self.clip_low is None else self.clip_low, self.clip_high)
        losses = clipped_weight(logprobs, old, batch.advantages, *clips)
        metrics = ratio_metrics(logprobs - old, batch.advantages, *clips)
        ratio = metrics["val/ratio"]
        return losses, metrics | {"policy/clipfrac_avg": (ratio != ratio.clamp(1 - clips[0], 1 + clips[1])).float()}
