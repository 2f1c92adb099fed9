"""Ensembles of rewards, which reduce overoptimisation: their members make different errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.rewards.completed import Completed, Reward, checked_scores
from burnish.run import UserError

HOW = ("mean", "minimum", "uncertainty")


@dataclass(frozen=True)
class Ensemble:
    """Several rewards as one; their scores are checked per member and combined by `combined`."""

    name: str
    members: tuple[Reward, ...]
    how: str = "mean"
    penalty: float = 1.0

    def __call__(self, completed: Completed) -> Sequence[float]:
        scores = np.array([checked_scores(member, completed) for member in self.members])
        return combined(scores, self.how, self.penalty).tolist()


def combined(scores: Float[np.ndarray, "M *N"], how: str, penalty: float = 1.0) -> Float[np.ndarray, "*N"]:
    """Combine the scores of M reward models into one score per text.

    mean: (1/M) Σ sᵢ;  minimum: minᵢ sᵢ;  uncertainty: mean − λ·√((1/M) Σ (sᵢ − mean)²), λ = `penalty`

    Coste et al. (2023), "Reward Model Ensembles Help Mitigate Overoptimization", section 3.
    Differs: the paper subtracts λ times the variance; the standard deviation has the scale of the scores.
    """
    if how == "minimum":
        return scores.min(0)
    spread = penalty * scores.std(0) if how == "uncertainty" else 0.0
    return scores.mean(0) - spread


def read_ensemble(text: str) -> tuple[list[str], str, float] | None:
    """Parse the value of --reward as an ensemble: folders, `how`, and penalty; None if it is not an ensemble.

    `A,B,C` is a mean, `minimum:A,B,C` a minimum, `uncertainty:A,B,C` a mean less the deviation, and
    `uncertainty=0.5:A,B,C` sets the penalty, 1 by default. Raises UserError for an invalid penalty or fewer than two
    members.
    """
    way, colon, rest = text.partition(":")
    how, equals, number = way.partition("=")
    if not colon or how not in HOW:
        how, equals, number, rest = "mean", "", "", text
        if "," not in text:
            return None
    members = [part.strip() for part in rest.split(",")]
    if len(members) < 2 or not all(members):
        raise UserError(
            f"--reward {text} is an ensemble of {len([m for m in members if m])}: give at least two folders"
        )
    if equals and how != "uncertainty":
        raise UserError(f"--reward {text}: a {how} has no penalty; write {how}:{rest}, or uncertainty={number}:{rest}")
    try:
        penalty = float(number) if equals else 1.0
    except ValueError:
        penalty = -1.0
    if not 0 < penalty < float("inf"):
        raise UserError(f"--reward {text}: the penalty must be a number greater than 0, not {number!r}")
    return members, how, penalty
