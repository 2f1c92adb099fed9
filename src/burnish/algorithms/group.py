"""What the policy gradients without a critic share: advantages from the scores of groups, and the common loss."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.algorithms.advantages import corrected, prepared, ratio_metrics, real
from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import GroupEpisodes, PreparedEpisodes
from burnish.functional import (
    clipped_surrogate,
    discounted_returns,
    group_centre,
    group_standardise,
    k1,
    k2,
    k3,
    leave_one_out,
    leave_one_out_standardise,
    masked_sum,
)
from burnish.options import option
from burnish.policies.interface import Models

Over = Literal["sequence", "token", "constant", "sum"]
KLIn = Literal["loss", "reward", "score"]
Estimator = Literal["k1", "k2", "k3"]
Advantage = Literal["standardise", "centre", "leave_one_out", "leave_one_out_standardise"]


def over_option(default: Over = "sequence") -> Any:
    """The option `over`."""
    return option(
        default,
        "how losses are averaged: per completion and then over completions (sequence), over all tokens (token), "
        "divided by the tokens that completions could have at most (constant), or summed per completion (sum)",
    )


def beta_option(default: float = 0.0) -> Any:
    """The option `beta` of a KL penalty."""
    return option(
        default,
        "coefficient of the KL penalty to the reference; at 0 no reference is loaded",
        ge=0,
        why="it would reward leaving the reference",
    )


def kl_in_option(default: KLIn = "loss") -> Any:
    """The option `kl_in`."""
    return option(
        default,
        "where the KL penalty is: in the loss, in the rewards of single tokens after the baseline, or in the score "
        "before it",
    )


def clip_option(default: float | None, side: str) -> Any:
    """The options `clip_low` and `clip_high` of a ratio; None is no limit."""
    bound = "1 − clip_low" if side == "lower" else "1 + clip_high"
    bound += "; none: no limit" if default is None else ""
    return option(
        default,
        f"the {side} end of the ratio's range is {bound}",
        gt=0,
        infinite=True,
        why="at 0 no update can improve anything",
    )


def dual_clip_option() -> Any:
    """The option `dual_clip`."""
    return option(None, "largest ratio of a negative advantage; none: not limited", gt=1, infinite=True)


@dataclass(frozen=True)
class GroupGradient(Algorithm):
    """The base of policy gradients whose advantages come from the scores of each prompt's completions.

    A subclass gives `policy_losses`, one per token, and `baseline`, the advantages of a group. The three places for the
    KL penalty, of which `beta` is the coefficient:

    loss:    + β·k(π, π_ref) per token. The mean gradient of the estimator k2 is that of KL(π‖π_ref), that of k3 of
             KL(π_ref‖π), each of the distribution of a single token: what a token does to later ones is left out
    reward:  A_t − β Σ_{s≥t} (log π_old(y_s) − log π_ref(y_s)), after the baseline: the mean gradient, with `over` sum,
             is that of KL(π‖π_ref) of whole completions
    score:   r(y) − β Σ_t (log π_old(y_t) − log π_ref(y_t)), before the baseline: the same mean gradient
    """

    data = "prompts"
    roles: ClassVar[tuple[str, ...]] = ("policy",)
    experience = "burnish.experience.language.group_completions:GroupCompletions"

    over: Over = over_option()
    beta: float = beta_option()
    kl_in: KLIn = kl_in_option()
    kl_estimator: Estimator | None = option(
        None,
        "estimator of a KL penalty in the loss: k3, the default, has the gradient of KL(reference‖policy), k2 that of "
        "KL(policy‖reference); k1 has none and is refused",
    )
    entropy_weight: float = option(0.0, "weight of the entropy bonus", ge=0)
    update_epochs: int = option(1, "passes over the completions of one rollout", ge=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        default = type(self)
        if not self.beta and (self.kl_in != default.kl_in or self.kl_estimator is not None):
            raise ValueError("kl_in and kl_estimator only apply to a KL penalty: set beta above 0, or leave them out")
        if self.kl_in != "loss" and self.kl_estimator is not None:
            raise ValueError(
                f"kl_estimator only applies to a KL penalty in the loss, and this one is in the {self.kl_in}, where it "
                "is always the log-ratio: leave it out, or set kl_in to loss"
            )
        if self.kl_estimator == "k1":
            raise ValueError(
                "k1 in the loss has a mean gradient of 0: set kl_estimator to k2, whose gradient is that of "
                "KL(π‖π_ref), or k3, that of KL(π_ref‖π), or set kl_in to reward"
            )

    @property
    def passes(self) -> int:
        return self.update_epochs

    @property
    def needs(self) -> tuple[str, ...]:
        return ("reference",) if self.beta else ()

    @property
    def compares(self) -> bool:
        """Whether it compares the completions of a prompt, and so needs two of them."""
        return True

    def problems(self, experience: Any) -> dict[str, bool]:
        return {
            f"{self.name} compares the completions of a prompt: set completions_per_prompt to 2 or more": (
                self.compares and experience.rows_per_prompt < 2
            )
        }

    def baseline(self, scores: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
        """The advantages of a group's completions."""
        raise NotImplementedError(f"{type(self).__name__} has no baseline")

    def policy_losses(
        self, logprobs: Float[Tensor, "B T"], batch: PreparedEpisodes
    ) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
        """The loss of each token, and metrics; what is at masked places does not matter."""
        raise NotImplementedError(f"{type(self).__name__} has no policy_losses")

    @torch.no_grad()
    def advantages(self, part: GroupEpisodes) -> Float[Tensor, "B T"]:
        """What each token is credited with, from its own row alone; 0 at masked places."""
        scores, mask = part.peers, part.mask
        if self.beta and self.kl_in == "score":
            assert part.peers_kl is not None
            scores = scores - self.beta * part.peers_kl
        own = part.own(self.baseline(scores)).to(part.old_logprobs.dtype)
        found = real(own[:, None].expand(mask.shape), mask)
        if self.beta and self.kl_in == "reward":
            assert part.ref_logprobs is not None
            kl = k1(real(part.old_logprobs, mask), real(part.ref_logprobs, mask))
            found = found - self.beta * discounted_returns(kl, part.discounts, mask)
        return found

    def prepare(self, models: Models, part: GroupEpisodes, statistics: Statistics) -> PreparedEpisodes:
        return prepared(part, self.advantages(part), statistics)

    def loss(self, models: Models, batch: PreparedEpisodes) -> Loss:
        part, mask = batch.batch, batch.mask
        terms, metrics = {}, {}
        if self.entropy_weight:
            logprobs, entropy = models.policy.logprobs_and_entropy(part)
            terms["entropy_avg"] = self.term(-entropy, batch, self.entropy_weight)
            metrics["policy/entropy_avg"] = entropy.detach()
        else:
            logprobs = models.policy.logprobs(part)
        logprobs = real(logprobs, mask)
        losses, found = self.policy_losses(logprobs, batch)
        terms["policy_avg"] = self.policy_term(corrected(losses, part, mask), batch)
        if self.beta and self.kl_in == "loss":
            kl = (k2 if self.kl_estimator == "k2" else k3)(logprobs, real(part.ref_logprobs, mask))
            terms["kl_avg"] = self.term(kl, batch, self.beta)
            metrics["policy/kl_avg"] = kl.detach()
        return Loss(terms, metrics | found)

    def policy_term(self, losses: Float[Tensor, "B T"], batch: PreparedEpisodes) -> Term:
        """The policy's losses as a term."""
        return self.term(losses, batch)

    def term(self, losses: Float[Tensor, "B T"], batch: PreparedEpisodes, weight: float = 1.0) -> Term:
        """A term averaged as `over` says."""
        if self.over == "sum":
            return Term(masked_sum(losses, batch.mask, -1), batch.counted(), "row", weight)
        return Term(losses, batch.mask, self.over, weight)


@dataclass(frozen=True)
class Compared(GroupGradient):
    """The base of the methods whose advantages are scores compared within their group, in one of four ways."""

    advantage: Advantage = option(
        "standardise",
        "a completion's score less the mean of its group (centre), divided by the standard deviation too "
        "(standardise); or both of the other completions alone (leave_one_out, leave_one_out_standardise)",
    )
    std_correction: int = option(
        1, "what is subtracted from the group's size in its variance: 1 of a sample, 0 of a population", ge=0, le=1
    )
    std_eps: float = option(1e-6, "added to the group's standard deviation", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, default = self.advantage, type(self)
        if kind != "standardise" and self.std_correction != default.std_correction:
            raise ValueError("std_correction only applies to the advantage standardise: leave it out, or set both")
        if "standardise" not in kind and self.std_eps != default.std_eps:
            raise ValueError("std_eps only applies to a standardised advantage: leave it out, or set advantage too")

    def baseline(self, scores: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
        if self.advantage == "standardise":
            return group_standardise(scores, self.std_correction, self.std_eps)
        if self.advantage == "leave_one_out_standardise":
            return leave_one_out_standardise(scores, self.std_eps)
        return (group_centre if self.advantage == "centre" else leave_one_out)(scores)


def clipped_tokens(
    logprobs: Float[Tensor, "B T"],
    batch: PreparedEpisodes,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
    """PPO's clipped surrogate of each token, with its metrics."""
    old, clips = batch.batch.old_logprobs, (clip_low, clip_high, dual_clip)
    losses = clipped_surrogate(logprobs, old, batch.advantages, *clips)
    return losses, ratio_metrics(logprobs - old, batch.advantages, *clips)


def clipped_sequences(
    log_ratio: Float[Tensor, "B"],
    batch: PreparedEpisodes,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> tuple[Float[Tensor, "B T"], dict[str, Tensor]]:
    """The same with one ratio per completion: each of its tokens has the completion's loss; metrics are per
    completion."""
    clips, wide = (clip_low, clip_high, dual_clip), log_ratio[:, None]
    losses = clipped_surrogate(wide, torch.zeros_like(wide), batch.advantages, *clips)
    return losses, ratio_metrics(log_ratio, row_advantages(batch), *clips)


def row_advantages(batch: PreparedEpisodes) -> Float[Tensor, "B"]:
    """The one advantage of each completion."""
    first = batch.mask.int().argmax(-1, keepdim=True)
    return batch.advantages.gather(1, first)[:, 0]
