"""Where the sampler is not the policy: importance weights against it, and how far the two differ."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from burnish.experience.interface import Source
from burnish.experience.language.sampling import Sampling
from burnish.functional import effective_sample_size, k3, log_weights, masked_mean, masked_outside, truncated
from burnish.options import option


@dataclass(frozen=True)
class Corrected(Sampling):
    """The options of every experience whose completions may be corrected for a sampler that is not the policy.

    Truncated importance weights: Yao et al. (2025), "Your Efficient RL Framework Secretly Brings You Off-Policy RL
    Training"; masking: Ling Team (2025), "Every Step Evolves" (IcePop).
    """

    sampler_correction: Literal["none", "truncate", "mask"] = option(
        "none",
        "importance weights π_old/μ where the sampler μ is not the policy: limited to the range from correction_low to "
        "correction_high, or 0 outside of it; the policy's log-probabilities are then always computed again",
    )
    correction_level: Literal["token", "sequence", "sequence_mean"] = option(
        "token", "a weight per token, per completion (product of its tokens'), or their geometric mean"
    )
    correction_low: float = option(0.0, "lower end of the range of importance weights", ge=0, le=1)
    correction_high: float = option(2.0, "upper end of the range of importance weights", ge=1, infinite=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("correction_level", "correction_low", "correction_high"):
            if not self.correcting and getattr(self, key) != getattr(type(self), key):
                raise ValueError(f"{key} only applies to a correction: set sampler_correction too")

    @property
    def correcting(self) -> bool:
        """Whether there is a correction."""
        return self.sampler_correction != "none"

    def against(
        self,
        source: Source,
        old_logprobs: Float[Tensor, "N T"],
        sampler_logprobs: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> tuple[Float[Tensor, "N T"] | None, dict[str, float]]:
        """The weights of the tokens' losses, None without a correction, and metrics of how sampler and policy differ,
        none where the sampler is exact and nothing is corrected."""
        if not self.correcting and source.sampler.exact:
            return None, {}
        used = weights(self, old_logprobs, sampler_logprobs, mask) if self.correcting else None
        return used, mismatch(self, old_logprobs, sampler_logprobs, mask)


def weights(
    knobs: Corrected,
    old_logprobs: Float[Tensor, "N T"],
    sampler_logprobs: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
) -> Float[Tensor, "N T"]:
    """What each token's loss is multiplied by."""
    limited = truncated if knobs.sampler_correction == "truncate" else masked_outside
    logs = log_weights(old_logprobs, sampler_logprobs, mask, knobs.correction_level)
    return limited(logs, knobs.correction_low, knobs.correction_high)


def mismatch(
    knobs: Corrected,
    old_logprobs: Float[Tensor, "N T"],
    sampler_logprobs: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
) -> dict[str, float]:
    """`differences`, and what a correction does about them: `kept` is the share of tokens with a weight above 0 and
    `limited` that of tokens whose weight was changed."""
    found = differences(old_logprobs, sampler_logprobs, mask)
    if not knobs.correcting:
        return found
    used = weights(knobs, old_logprobs, sampler_logprobs, mask)
    plain = log_weights(old_logprobs, sampler_logprobs, mask, knobs.correction_level).exp()
    return found | {
        "sampler/kept": masked_mean((used > 0).float(), mask).item(),
        "sampler/limited": masked_mean((used != plain).float(), mask).item(),
    }


def differences(
    old_logprobs: Float[Tensor, "N T"], sampler_logprobs: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]
) -> dict[str, float]:
    """Metrics of the difference between sampler and policy.

    `sampler/kl` estimates KL(μ‖π_old) per token by k3; `ratio_max` is the largest ratio of a token's probabilities,
    either way round; `effective_sample_size` is that of whole completions, as a share.
    """
    logs = log_weights(old_logprobs, sampler_logprobs, mask)
    whole = log_weights(old_logprobs, sampler_logprobs, mask, "sequence")
    first = mask.int().argmax(-1, keepdim=True)
    found = {
        "sampler/kl": masked_mean(k3(sampler_logprobs, old_logprobs), mask),
        "sampler/ratio_max": logs.abs().max().exp(),
        "sampler/effective_sample_size": effective_sample_size(whole.gather(1, first)[:, 0]),
    }
    return {name: value.item() for name, value in found.items()}
