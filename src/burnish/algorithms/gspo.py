"""Group sequence policy optimisation."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.group import Compared, clip_option, clipped_sequences
from burnish.batches import PreparedEpisodes
from burnish.functional import sequence_log_ratio


@dataclass(frozen=True)
class GSPO(Compared):
    """GRPO with one probability ratio per completion: the geometric mean of its tokens' ratios.

    L(θ) = mean_i [ −min(s_i A_i, clip(s_i, 1 − clip_low, 1 + clip_high) A_i) ],
    s_i = exp( mean_t log(π_θ(y_it)/π_old(y_it)) ),  A_i = (r_i − mean(r)) / (std(r) + std_eps)

    Zheng et al. (2025), "Group Sequence Policy Optimization", eqs. 5 to 7; the clip range: section 5.1. A mean of
    log-ratios is far nearer to 0 than a token's, hence the narrow range. `policy/clipfrac_avg` counts completions.
    Differs: the standard deviation is of a sample (n − 1), with std_eps added; the paper does not define it.
    """

    name = "gspo"
    paper = "Zheng et al. 2025"

    clip_low: float = clip_option(3e-4, "lower")
    clip_high: float = clip_option(4e-4, "upper")

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        log_ratio = sequence_log_ratio(logprobs, batch.batch.old_logprobs, batch.mask, mean=True)
        return clipped_sequences(log_ratio, batch, self.clip_low, self.clip_high)
