"""On-policy distillation: learn from a teacher's probabilities on one's own samples."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.advantages import corrected, real
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes, PreparedEpisodes
from burnish.functional import clipped_surrogate, discounted_returns, generalised_js, k1
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class Distil(Algorithm):
    """The policy's divergence from a teacher, on completions that the policy samples itself.

    reverse_kl: L(θ) = mean_t [ −ρ_t A_t ],  A_t = Σ_{s≥t} γ^{s−t} (log π_T(y_s) − log π_old(y_s)),  ρ_t = π_θ/π_old
    js:         L(θ) = mean_t JS_β(π_T‖π_θ) of the whole distributions of token t; no gradient through the sampling

    With γ = 1 the mean gradient of reverse_kl, summed over tokens, is that of KL(π_θ‖π_T) of whole completions; with
    γ = 0, the default, a token answers for its own divergence alone, which has far less variance. Where another policy
    μ sampled, a batch may have weights π_old/μ, which multiply the losses of either divergence.

    Agarwal et al. (2024), "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes" (GKD);
    the reverse KL as advantages: Lu et al. (2025), "On-Policy Distillation".
    Differs: GKD mixes in fixed texts, and divides the logits by a temperature of its own; here `temperature` is that of
    the samples too.
    """

    name = "distil"
    data = "prompts"
    roles: ClassVar[tuple[str, ...]] = ("policy", "teacher")
    experience = "burnish.experience.language.taught:TaughtCompletions"
    learning_rate = 1e-5
    paper = "Agarwal et al. 2024"

    divergence: Literal["reverse_kl", "js"] = option(
        "reverse_kl",
        "what is minimised: the KL divergence from the teacher, estimated by the sampled tokens, or the generalised "
        "Jensen-Shannon divergence of the whole distributions",
    )
    js_beta: float = option(
        0.5, "β of the Jensen-Shannon divergence: 0 is KL(teacher‖policy), 1 KL(policy‖teacher)", ge=0, le=1
    )
    gamma: float = option(0.0, "discount by which a token answers for the divergence of later ones", ge=0, le=1)
    clip: float | None = option(
        None, "clip range of the ratio to the policy that sampled, as PPO's; none: not clipped", gt=0, infinite=True
    )
    over: Literal["token", "sequence"] = option(
        "token", "average over all sampled tokens, or per completion and then over completions"
    )
    update_epochs: int = option(1, "passes over the completions of one rollout", ge=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        default = type(self)
        sampled = (self.gamma, self.clip) != (default.gamma, default.clip)
        if self.divergence == "js" and sampled:
            raise ValueError("gamma and clip only apply to the divergence reverse_kl, which is estimated from samples")
        if self.divergence != "js" and self.js_beta != default.js_beta:
            raise ValueError("js_beta only applies to the divergence js: set divergence too")

    @property
    def passes(self) -> int:
        return self.update_epochs

    def problems(self, experience: Any) -> dict[str, bool]:
        return {
            "the divergence js of a token does not depend on which token was sampled there, so that its weight alone "
            "corrects nothing: set correction_level to sequence or sequence_mean": (
                self.divergence == "js" and experience.correcting and experience.correction_level == "token"
            )
        }

    @torch.no_grad()
    def prepare(self, models: Models, part: Episodes, statistics: Statistics) -> PreparedEpisodes:
        mask, old = part.mask, real(part.old_logprobs, part.mask)
        teacher = real(models.teacher.logprobs(part), mask)
        discounts = torch.where(mask, self.gamma * part.discounts, 0.0)
        advantages = discounted_returns(teacher - old, discounts, mask)
        return PreparedEpisodes(replace(part, old_logprobs=old, ref_logprobs=teacher), advantages)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        part, mask = batch.batch, batch.mask
        apart = {"policy/teacher_kl": k1(part.old_logprobs, part.ref_logprobs)}
        if self.divergence == "js":
            losses = models.policy.divergences(part, models.teacher, self.js)
            return Loss({"js_avg": Term(corrected(losses, part, mask), mask, self.over)}, apart)
        clip = torch.inf if self.clip is None else self.clip
        logprobs = real(models.policy.logprobs(part), mask)
        losses = clipped_surrogate(logprobs, part.old_logprobs, batch.advantages, clip, clip)
        return Loss(
            {"policy_avg": Term(corrected(losses, part, mask), mask, self.over)},
            apart | {"val/ratio": (logprobs - part.old_logprobs).detach().exp()},
        )

    def js(self, own: Float[Tensor, "k v"], teacher: Float[Tensor, "k v"]) -> Float[Tensor, "k"]:
        """JS_β of distributions given by logits."""
        return generalised_js(teacher, own, self.js_beta)
