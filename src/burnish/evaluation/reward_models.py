"""How good a reward model is: right how often and how surely, on which pairs, and whether it counts words.

Margins are score(chosen) − score(rejected), one a pair; above 0 the model agrees with the label, and a tie counts
half. What is returned is frozen, and `dataclasses.asdict` makes it ready for JSON.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike

from burnish.batches import Demonstrations, Preferences
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.statistics import Interval, correlation, proportion
from burnish.policies.language.scorer import LanguageScorer
from burnish.run import UserError


@dataclass(frozen=True)
class Bin:
    """Pairs that are alike in some number: its range and mean among them, how many they are, and how often the model
    agrees with their labels."""

    low: float
    high: float
    mean: float
    count: int
    agreement: Interval


@dataclass(frozen=True)
class Calibration:
    """A curve of predicted (`mean`) against observed `agreement`, and the expected calibration error."""

    bins: tuple[Bin, ...]
    error: float


@torch.no_grad()
def score_texts(scorer: Any, batches: Iterable[Demonstrations]) -> Float[np.ndarray, "N"]:
    """The scores of demonstrations, in order. Raises UserError for a score that is not finite, naming its row."""
    return np.concatenate([np.empty(0), *(_scores(scorer, batch) for batch in batches)])


@torch.no_grad()
def score_pairs(scorer: Any, batches: Iterable[Preferences]) -> Float[np.ndarray, "N 2"]:
    """The scores of chosen and rejected, in order. Raises UserError for a score that is not finite, naming its row."""
    return np.concatenate([np.empty((0, 2)), *(_scores(scorer, batch) for batch in batches)])


def _scores(scorer: Any, batch: Demonstrations | Preferences) -> Float[np.ndarray, "..."]:
    scorer.dropout(False)
    scores = scorer.scores(batch.to(scorer.device)).double().cpu()
    finite = torch.isfinite(scores).flatten(1).all(1) if scores.dim() > 1 else torch.isfinite(scores)
    if not finite.all():
        row = batch.rows.cpu()[~finite][0].item()
        raise UserError(
            f"the reward model's score of row {row} is not finite: look at the row, or train the model anew"
        )
    return scores.numpy()


def centre_on(scorer: LanguageScorer, batches: Iterable[Demonstrations]) -> float:
    """Let these demonstrations score 0 on average; return the mean that their uncentred scores had.

    Source: Ouyang et al. (2022), section 3.5. Raises UserError where there is no demonstration.
    """
    scores = score_texts(scorer, batches)
    if not len(scores):
        raise UserError("a reward model is centred on demonstrations, and there is none: give at least one")
    mean = float(scores.mean()) + scorer.offset
    scorer.centre(mean)
    return mean


def accuracy(margins: Float[np.ndarray, "N"]) -> Interval:
    """How often the label is agreed with, a tie counting half, with Wilson's interval."""
    agreed = accuracy_scores(margins)
    return proportion(float(agreed.sum()), len(agreed))


def calibration_curve(margins: Float[np.ndarray, "N"], bins: int = 10) -> Calibration:
    """Predicted against observed agreement, in bins of about equally many pairs.

    Which response of a pair was shown first means nothing, so a pair is taken the way round in which the model is
    sure: it predicts agreement p = σ(|margin|) ≥ ½ with the label, and agreement is observed where margin > 0.
    Expected calibration error: Σ_bins (n/N)·|mean p − observed|. Its noise does not cancel: on few pairs it is above 0
    for a perfect model too, by about the half width of an interval.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", eq. 3, there with bins of equal width.
    Raises ValueError for no pair, or a margin that is not finite.
    """
    predicted = 1 / (1 + np.exp(-np.abs(_finite(margins))))
    curve = _bins(predicted, margins, bins)
    error = sum(b.count / len(margins) * abs(b.mean - b.agreement.mean) for b in curve)
    return Calibration(curve, float(error))


def accuracy_by_gap(
    margins: Float[np.ndarray, "N"], gaps: Num[np.ndarray, "N"], bins: int | Sequence[float] = 5
) -> tuple[Bin, ...]:
    """Accuracy by how far apart the raters' means are, |chosen mean − rejected mean|, from near to far.

    `bins` is a number of bins of about equally many pairs, or the inner edges of bins; a gap on an edge lies above it.
    Touvron et al. (2023), "Llama 2", table 8: the closer two responses are, the less often a model agrees.
    Raises ValueError for no pair, or a number that is not finite.
    """
    return _bins(np.abs(_finite(gaps)), _finite(margins), bins)


def length_correlation(scores: ArrayLike, lengths: ArrayLike) -> Interval | None:
    """Pearson's correlation of scores with lengths, text by text; both `[N]` or `[N, 2]`.

    None where no correlation is defined: fewer than three texts, or scores or lengths that are all the same.
    """
    one, other = np.ravel(np.asarray(scores, dtype=float)), np.ravel(np.asarray(lengths, dtype=float))
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return correlation(one, other)


def _bins(x: Float[np.ndarray, "N"], margins: Float[np.ndarray, "N"], bins: int | Sequence[float]) -> tuple[Bin, ...]:
    """Pairs binned by `x`; equal numbers share a bin, and a bin without a pair is left out."""
    edges = np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1]) if isinstance(bins, int) else np.asarray(bins, float)
    place: Int[np.ndarray, "N"] = np.searchsorted(np.sort(edges), x, side="right")
    inside = [place == i for i in range(len(edges) + 1)]
    return tuple(
        Bin(float(x[i].min()), float(x[i].max()), float(x[i].mean()), int(i.sum()), accuracy(margins[i]))
        for i in inside
        if i.any()
    )


def _finite(values: Num[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    numbers = np.asarray(values, dtype=float)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError("finite numbers are needed, one a pair, and at least one")
    return numbers
