"""What the methods that learn from pairs share: their base, and the log-probabilities of both responses."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Preferences, PreparedPreferences
from burnish.functional import masked_mean, masked_sum
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class PairLogprobs:
    """The policy's log-probabilities of both responses of each pair, the chosen one first: `[B, 2, T]`.

    `logps` are log-probabilities of whole responses, `mean_logps` their means per token; log-ratios are the
    differences from the reference's.
    """

    batch: Preferences
    logprobs: Tensor
    ref_logprobs: Tensor | None

    @property
    def logps(self) -> Tensor:
        return masked_sum(self.logprobs, self.batch.mask, dim=-1)

    @property
    def mean_logps(self) -> Tensor:
        return masked_mean(self.logprobs, self.batch.mask, dim=-1)

    @property
    def logratios(self) -> Tensor:
        assert self.ref_logprobs is not None
        return self.logps - masked_sum(self.ref_logprobs, self.batch.mask, dim=-1)

    @property
    def mean_logratios(self) -> Tensor:
        assert self.ref_logprobs is not None
        return self.mean_logps - masked_mean(self.ref_logprobs, self.batch.mask, dim=-1)

    @property
    def confidence(self) -> Tensor | float:
        """The probability that a label is right: the data's, or 1."""
        return 1.0 if self.batch.confidences is None else self.batch.confidences

    @property
    def margins(self) -> Tensor | float:
        """The data's margins, or 0."""
        return 0.0 if self.batch.margins is None else self.batch.margins


class Pairwise(Algorithm):
    """The base of the methods that compare a chosen with a rejected response.

    A subclass gives `losses`, one per pair, and where they are not β times the log-ratios, the implicit `rewards`.
    """

    data = "preferences"
    roles: ClassVar[tuple[str, ...]] = ("policy", "reference")
    prepares_alone = True
    beta: float

    def losses(self, pairs: PairLogprobs) -> Tensor:
        """The loss of each pair, `[B]`."""
        raise NotImplementedError(f"{type(self).__name__} has no losses")

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        """The implicit rewards of both responses, `[B, 2]`, for the metrics."""
        return self.beta * pairs.logratios

    def weights(self) -> tuple[float, float]:
        """The weight of the losses, and of the negative log-likelihood of the chosen responses' tokens beside them."""
        return 1.0, 0.0

    @torch.no_grad()
    def prepare(self, models: Models, part: Preferences, statistics: Statistics) -> PreparedPreferences:
        return PreparedPreferences(part, models.reference.logprobs(part) if "reference" in self.roles else None)

    def loss(self, models: Models, batch: PreparedPreferences) -> Loss:
        pairs = PairLogprobs(batch.batch, models.policy.logprobs(batch.batch), batch.ref_logprobs)
        counted, (weight, nll_weight) = batch.counted(), self.weights()
        terms = {self.name: Term(self.losses(pairs), counted, "row", weight)}
        if nll_weight:
            chosen = batch.mask[:, 0] & counted[:, None]
            terms["nll"] = Term(-pairs.logprobs[:, 0], chosen, "token", nll_weight, total="chosen")
        return Loss(terms, metrics(self.rewards(pairs).detach(), pairs.logps.detach()))

    def refuses(self, batch: Preferences, responses: int) -> str | None:
        return refused(self, batch, responses, uses_margins=False)


def refused(algorithm: Algorithm, batch: Preferences, responses: int, uses_margins: bool) -> str | None:
    """Why a method cannot learn from comparisons like these; `uses_margins`: its loss needs them."""
    if responses > 2 and not algorithm.rankings:
        return (
            f"a row ranks {responses} responses, but {algorithm.name} learns from pairs; rankings are for "
            "`burnish reward`"
        )
    if responses > 2 and (batch.margins is not None or batch.confidences is not None):
        return (
            f"a row ranks {responses} responses, but margins and confidences only apply to pairs: remove those columns"
        )
    if batch.confidences is not None and not algorithm.soft_labels:
        return (
            f"{algorithm.name} does not use confidences: remove that column, or choose a method that does "
            "(docs/preferences.md)"
        )
    if uses_margins and batch.margins is None:
        return "margin_weight needs margins, and the data have no column margin: add it, or set margin_weight to 0"
    return None


def unused_margins(batch: Preferences, margin_weight: float) -> str | None:
    """A sentence where the data have margins that have no weight in the loss."""
    if batch.margins is None or margin_weight:
        return None
    return "the data have margins, which count only with --margin-weight"


def metrics(rewards: Tensor, logps: Tensor) -> dict[str, Tensor]:
    """TRL's names. A tie of the implicit rewards counts as half right."""
    margins = rewards[:, 0] - rewards[:, 1]
    return {
        "rewards/chosen": rewards[:, 0],
        "rewards/rejected": rewards[:, 1],
        "rewards/accuracies": (margins > 0).float() + (margins == 0).float() / 2,
        "rewards/margins": margins,
        "logps/chosen": logps[:, 0],
        "logps/rejected": logps[:, 1],
    }


def beta_option(default: float, help: str = "strength of the pull to the reference (temperature of the KL)") -> Any:
    """The option `beta` of a preference method."""
    return option(default, help, gt=0, why="it scales the implicit reward")


def smoothing_option(default: float, help: str, positive: bool = False) -> Any:
    """The option `label_smoothing`, a share of wrong labels below ½; `positive` excludes 0."""
    low = {"gt": 0.0 if positive else None, "ge": None if positive else 0.0}
    return option(default, help, gt=low["gt"], ge=low["ge"], lt=0.5, why="at ½ labels carry no information")


def nll_option(default: float = 0.0) -> Any:
    """The option `nll_weight`."""
    return option(default, "weight of the negative log-likelihood of chosen responses", ge=0)
