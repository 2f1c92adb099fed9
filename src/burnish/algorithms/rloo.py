"""REINFORCE with the mean of a prompt's other completions as baseline."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.group import (
    GroupGradient,
    KLIn,
    Over,
    beta_option,
    clip_option,
    clipped_sequences,
    clipped_tokens,
    dual_clip_option,
    kl_in_option,
    over_option,
)
from burnish.algorithms.terms import Term
from burnish.batches import PreparedEpisodes
from burnish.functional import leave_one_out, policy_gradient, sequence_log_ratio
from burnish.options import option


@dataclass(frozen=True)
class RLOO(GroupGradient):
    """REINFORCE on whole completions, each compared with the mean of the others (leave one out).

    L(θ) = mean_i [ −A_i log π_θ(y_i|x) ],  A_i = R_i − (1/(G−1)) Σ_{j≠i} R_j,
    R_i = r_i − β·log(π_old(y_i|x)/π_ref(y_i|x))

    Ahmadian et al. (2024), "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in
    LLMs"; the estimator: Kool et al. (2019). With `ratio` the probability of a completion (sequence), as
    in TRL, or of each token, as in verl and OpenRLHF, is divided by that of the policy that sampled, and clipped.
    """

    name = "rloo"
    paper = "Ahmadian et al. 2024"

    ratio: Literal["none", "sequence", "token"] = option(
        "none", "probability ratio to the policy that sampled, clipped as PPO's: of completions, of tokens, or none"
    )
    clip_low: float = clip_option(0.2, "lower")
    clip_high: float = clip_option(0.2, "upper")
    dual_clip: float | None = dual_clip_option()
    over: Over = over_option("sum")
    beta: float = beta_option(0.05)
    kl_in: KLIn = kl_in_option("score")

    def __post_init__(self) -> None:
        super().__post_init__()
        default = type(self)
        clips = (self.clip_low, self.clip_high, self.dual_clip)
        if self.ratio == "none" and clips != (default.clip_low, default.clip_high, None):
            raise ValueError("clip_low, clip_high and dual_clip only apply to a ratio: set ratio too")
        if self.ratio == "sequence" and self.over != default.over:
            raise ValueError("a ratio per completion has one loss per completion: leave over out, or set another ratio")
        if self.ratio == "none" and self.update_epochs > 1:
            raise ValueError("without a ratio a second pass would not know that the policy has moved: set ratio too")
        if self.ratio == "sequence" and self.kl_in == "reward" and self.beta:
            raise ValueError("a ratio per completion has one advantage per completion: set kl_in to score")

    def baseline(self, scores: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
        return leave_one_out(scores)

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        clips = self.clip_low, self.clip_high, self.dual_clip
        if self.ratio == "none":
            return policy_gradient(logprobs, batch.advantages), {}
        if self.ratio == "token":
            return clipped_tokens(logprobs, batch, *clips)
        log_ratio = sequence_log_ratio(logprobs, batch.batch.old_logprobs, batch.mask, mean=False)
        return clipped_sequences(log_ratio, batch, *clips)

    def policy_term(self, losses: Float[Tensor, "B T"], batch: PreparedEpisodes) -> Term:
        """A ratio per completion has one loss, which stands at each of its tokens."""
        return Term(losses, batch.mask, "sequence") if self.ratio == "sequence" else self.term(losses, batch)
