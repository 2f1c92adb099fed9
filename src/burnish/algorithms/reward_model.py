"""The reward model: one number a text, learned from comparisons."""

from dataclasses import dataclass, field

from torch import Tensor

from burnish.algorithms.terms import Loss, Term
from burnish.batches import Preferences
from burnish.functional import bradley_terry
from burnish.policies.interface import Models


@dataclass(frozen=True)
class RewardModel:
    """Maximum likelihood of people's choices under the Bradley–Terry model.

    L(φ) = −E log σ(r_φ(chosen) − r_φ(rejected)) + c·E (r_φ(chosen) + r_φ(rejected))²,  c = `centre_coefficient`

    r_φ is the score of prompt and response as one text. A comparison says nothing of the level of the scores, which
    is free to drift; centring on demonstrations after training settles it, and c above 0 keeps it near 0 meanwhile.

    Ouyang et al. (2022), "Training language models to follow instructions with human feedback", eq. 1, with one pair
    a prompt; the second term: Eisenstein et al. (2023), "Helping or Herding?". No term for how far apart the raters
    were (Llama 2's margin): labels are all that is asked of the data.
    """

    centre_coefficient: float = field(
        default=0.0, metadata={"help": "strength of the pull of a pair's summed scores to 0"}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.centre_coefficient < float("inf"):
            raise ValueError(f"centre_coefficient must be 0 or above, not {self.centre_coefficient}")

    def prepare(self, models: Models, batch: Preferences) -> Preferences:
        return batch

    def loss(self, models: Models, batch: Preferences) -> Loss:
        assert models.scorer is not None
        scores = models.scorer.scores(batch)
        chosen, rejected = scores.unbind(-1)
        both_answered = batch.mask.any(-1).all(-1)
        terms = {"bradley_terry": Term(bradley_terry(chosen, rejected), both_answered, "row")}
        if self.centre_coefficient:
            terms["centre"] = Term((chosen + rejected).square(), both_answered, "row", self.centre_coefficient)
        return Loss(terms, self.metrics(scores.detach()))

    def metrics(self, scores: Tensor) -> dict[str, Tensor]:
        """TRL's names. A tie of the scores counts as half right; the mean reward is that of a pair's two texts."""
        margins = scores[:, 0] - scores[:, 1]
        return {
            "accuracy": (margins > 0).float() + (margins == 0).float() / 2,
            "margin": margins,
            "mean_reward": scores.mean(-1),
        }
