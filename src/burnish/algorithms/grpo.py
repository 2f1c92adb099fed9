"""Group relative policy optimisation."""

from dataclasses import dataclass
from typing import Any, ClassVar

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
    dual_clip_option,
    entropy_option,
    epochs_option,
    kl_estimator_option,
    kl_in_option,
    over_option,
    ratio_metrics,
    std_correction_option,
    std_eps_option,
)
from burnish.batches import PreparedEpisodes
from burnish.functional import clipped_surrogate


@dataclass(frozen=True)
class GRPO(GroupGradient):
    """PPO's clipped surrogate with the scores of a prompt's other completions in the place of a critic.

    L(θ) = mean_i mean_t [ −min(ρ_it A_i, clip(ρ_it, 1 − clip_low, 1 + clip_high) A_i) + β·k3(π_θ, π_ref) ],
    ρ_it = π_θ(y_it)/π_old(y_it),  A_i = (r_i − mean(r)) / (std(r) + std_eps)

    Shao et al. (2024), "DeepSeekMath", eqs. 3, 4 and algorithm 1. Preset dr_grpo: Liu et al. (2025), "Understanding
    R1-Zero-Like Training"; preset dapo: Yu et al. (2025), "DAPO: An Open-Source LLM Reinforcement Learning System".
    Differs: the paper does not define its standard deviation; this one is of a sample (n − 1), with std_eps added.
    """

    name = "grpo"
    paper = "Shao et al. 2024"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "dr_grpo": {"advantage": "centre", "over": "constant", "beta": 0.0},
        "dapo": {"over": "token", "clip_high": 0.28, "beta": 0.0, "redraws": 10, "overlong_share": 0.2},
    }

    advantage: Advantage = advantage_option()
    std_correction: int = std_correction_option()
    std_eps: float = std_eps_option()
    clip_low: float = clip_option(0.2, "lower")
    clip_high: float = clip_option(0.2, "upper")
    dual_clip: float | None = dual_clip_option()
    over: Over = over_option("sequence")
    beta: float = beta_option(0.04)
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
        old, clips = batch.batch.old_logprobs, (self.clip_low, self.clip_high, self.dual_clip)
        losses = clipped_surrogate(logprobs, old, batch.advantages, *clips)
        return losses, ratio_metrics(logprobs - old, batch.advantages, *clips)
