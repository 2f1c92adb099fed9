"""Kahneman–Tversky optimisation."""

from dataclasses import dataclass
from typing import Any

import torch

from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.pairs import beta_option
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Demonstrations, Feedback, PreparedFeedback
from burnish.functional import kto, masked_sum
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class KTO(Algorithm):
    """Makes good responses likelier and bad ones less likely, each compared with how far the policy has moved overall.

    L(θ) = E λ·(1 − σ(±β·(Δ − z₀))),  Δ = log π_θ(y|x) − log π_ref(y|x),  + and λ_D if desirable, − and λ_U if not;
    z₀ = max(0, mean of Δ over mismatched responses), without gradient

    A mismatched response is another row's response behind this row's prompt: what becomes likelier there, becomes
    likelier everywhere. The mean is over the whole batch, so that micro-batches share one z₀; in evaluation it is over
    all the data. Where one kind of response is rarer than the other, the paper gives it a larger weight.

    Ethayarajh et al. (2024), "KTO: Model Alignment as Prospect Theoretic Optimization", eq. 7.
    Differs: mismatched responses come from anywhere in the data; the paper takes them from the batch.
    """

    name = "kto"
    data = "feedback"
    roles = ("policy", "reference")
    least_rows = 2
    paper = "Ethayarajh et al. 2024"

    beta: float = beta_option(0.1)
    desirable_weight: float = option(1.0, "weight of a good response", ge=0)
    undesirable_weight: float = option(1.0, "weight of a bad response", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.desirable_weight and not self.undesirable_weight:
            raise ValueError(
                "desirable_weight and undesirable_weight are both 0, so nothing would be learned: raise one"
            )

    @torch.no_grad()
    def statistics(self, models: Models, part: Feedback) -> Statistics:
        """The sum of Δ over mismatched responses, and their number."""
        mask, ref_logprobs = part.mask[:, 1], models.reference.logprobs(part)[:, 1]
        moved = masked_sum(models.policy.logprobs(texts(part, 1)) - ref_logprobs, mask, -1)
        return {"moved": masked_sum(moved, mask.any(-1)), "mismatched": mask.any(-1).sum()}

    @torch.no_grad()
    def prepare(self, models: Models, part: Feedback, statistics: Statistics) -> PreparedFeedback:
        kl = statistics["moved"] / statistics["mismatched"].clamp(min=1)
        return PreparedFeedback(part, models.reference.logprobs(part), kl)

    def loss(self, models: Models, batch: PreparedFeedback) -> Loss:
        feedback, mask = batch.batch, batch.mask[:, 0]
        logps = masked_sum(models.policy.logprobs(texts(feedback, 0)), mask, -1)
        logratios = logps - masked_sum(batch.ref_logprobs[:, 0], mask, -1)
        kl = batch.kl.clamp(min=0.0)
        losses = kto(logratios, feedback.desirable, kl, self.beta, self.desirable_weight, self.undesirable_weight)
        metrics: dict[str, Any] = {"kl": kl.expand(len(batch))}
        kinds = {"chosen": ("desirable", feedback.desirable), "rejected": ("undesirable", ~feedback.desirable)}
        for name, (kind, rows) in kinds.items():
            real = mask.any(-1) & rows
            metrics[f"rewards/{name}"] = Term(self.beta * logratios.detach(), real, "row", total=kind)
            metrics[f"logps/{name}"] = Term(logps.detach(), real, "row", total=kind)
        return Loss({"kto": Term(losses, mask.any(-1), "row")}, metrics)


def texts(batch: Feedback, which: int) -> Demonstrations:
    """The rows' own responses (0), or the mismatched ones (1), as single texts."""
    return Demonstrations(batch.tokens[:, which], batch.mask[:, which], batch.lengths[:, which], batch.rows)
