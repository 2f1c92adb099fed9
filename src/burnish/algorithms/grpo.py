"""Group relative policy optimisation."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.group import Compared, beta_option, clip_option, clipped_tokens, dual_clip_option
from burnish.batches import PreparedEpisodes


@dataclass(frozen=True)
class GRPO(Compared):
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

    beta: float = beta_option(0.04)
    clip_low: float = clip_option(0.2, "lower")
    clip_high: float = clip_option(0.2, "upper")
    dual_clip: float | None = dual_clip_option()

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        return clipped_tokens(logprobs, batch, self.clip_low, self.clip_high, self.dual_clip)
