"""Where the sampler is not the policy: importance weights against it, and how far the two differ."""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from burnish.functional import effective_sample_size, k3, log_weights, masked_mean, masked_outside, truncated


def weights(
    knobs: Any,
    old_logprobs: Float[Tensor, "N T"],
    sampler_logprobs: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
) -> Float[Tensor, "N T"]:
    """What each token's loss is multiplied by; `knobs` have the options of the correction."""
    limited = truncated if knobs.sampler_correction == "truncate" else masked_outside
    logs = log_weights(old_logprobs, sampler_logprobs, mask, knobs.correction_level)
    return limited(logs, knobs.correction_low, knobs.correction_high)


def mismatch(
    knobs: Any,
    old_logprobs: Float[Tensor, "N T"],
    sampler_logprobs: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
) -> dict[str, float]:
    """`differences`, and what a correction does about them: `kept` is the share of tokens with a weight above 0 and
    `limited` that of tokens whose weight was changed."""
    found = differences(old_logprobs, sampler_logprobs, mask)
    if knobs.sampler_correction == "none":
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
