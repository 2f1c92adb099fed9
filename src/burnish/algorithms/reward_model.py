"""The reward model: one number per text, learned from comparisons and rankings."""

from dataclasses import dataclass

import torch
from torch import Tensor

from burnish.algorithms.interface import Algorithm
from burnish.algorithms.pairs import refused, unused_margins
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Preferences
from burnish.functional import masked_mean, ranked_bradley_terry
from burnish.options import option
from burnish.policies.interface import Models


@dataclass(frozen=True)
class RewardModel(Algorithm):
    """Maximum likelihood of people's choices under the Bradley–Terry model.

    L(φ) = −E log σ(r_φ(chosen) − r_φ(rejected) − w·m) + c·E (r_φ(chosen) + r_φ(rejected))²,
    w = `margin_weight`, m the data's margin, c = `centre_coefficient`

    r_φ is the score of prompt and response as one text. Comparisons do not determine the level of the scores, which can
    drift; centring on demonstrations after training fixes it, and c above 0 keeps it near 0 during training. For a
    prompt with K responses in order, all C(K, 2) pairs are one element of the batch, each with weight 1/C(K, 2): as
    separate comparisons they would be overfitted. A confidence of the data is the probability that a pair's label is
    right.

    Ouyang et al. (2022), "Training language models to follow instructions with human feedback", eq. 1; the margin:
    Touvron et al. (2023), "Llama 2", eq. 2, with w = 1; the second term: Eisenstein et al. (2023), "Helping or
    Herding?".
    """

    name = "reward"
    data = "preferences"
    roles = ("scorer",)
    learning_rate = 1e-5
    soft_labels = True
    rankings = True
    paper = "Ouyang et al. 2022"

    centre_coefficient: float = option(0.0, "weight of the squared sum of a pair's scores, which pulls it to 0", ge=0)
    margin_weight: float = option(0.0, "weight of the data's margins, in scores", ge=0)

    def loss(self, models: Models, batch: Preferences) -> Loss:
        scores = models.scorer.scores(batch)
        answered = batch.mask.any(-1)
        margin = 0.0 if batch.margins is None else self.margin_weight * batch.margins
        confidence = 1.0 if batch.confidences is None else batch.confidences
        counted = batch.counted()
        terms = {"bradley_terry": Term(ranked_bradley_terry(scores, answered, margin, confidence), counted, "row")}
        if self.centre_coefficient:
            better, worse, real = every_pair(scores, answered)
            losses = masked_mean((better + worse).square(), real, -1)
            terms["centre"] = Term(losses, counted, "row", self.centre_coefficient)
        return Loss(terms, self.metrics(scores.detach(), answered))

    def metrics(self, scores: Tensor, answered: Tensor) -> dict[str, Tensor]:
        """TRL's names, each a mean over a row's pairs. A tie of the scores counts as half right; the mean reward is
        that of a row's texts."""
        better, worse, real = every_pair(scores, answered)
        margins = better - worse
        return {
            "accuracy": masked_mean((margins > 0).float() + (margins == 0).float() / 2, real, -1),
            "margin": masked_mean(margins, real, -1),
            "mean_reward": masked_mean(scores, answered, -1),
        }

    def refuses(self, batch: Preferences, responses: int) -> str | None:
        return refused(self, batch, responses, uses_margins=self.margin_weight > 0)

    def leaves_unused(self, batch: Preferences) -> str | None:
        return unused_margins(batch, self.margin_weight)


def every_pair(scores: Tensor, answered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The better and the worse score of every pair of a row's responses, best first, and whether both exist.

    `[B, G]` → three times `[B, G(G−1)/2]`; a missing response scores 0.
    """
    one, other = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1, device=scores.device)
    kept = torch.where(answered, scores, 0.0)
    return kept[..., one], kept[..., other], answered[..., one] & answered[..., other]
