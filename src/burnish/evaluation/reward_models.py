"""Evaluation of reward models: accuracy, calibration, and correlation of scores with length.

Margins are score(chosen) − score(rejected), one per pair; a positive margin agrees with the label, and a tie counts
half. Results are frozen dataclasses that `dataclasses.asdict` makes JSON-serialisable.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike
from scipy.special import expit

from burnish.batches import Demonstrations, Preferences
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.statistics import Interval, correlation, proportion
from burnish.policies.language.scorer import LanguageScorer
from burnish.run import UserError
from burnish.run.world import ALONE, World


@dataclass(frozen=True)
class Bin:
    """Pairs binned by a quantity: its range and mean in the bin, the number of pairs, and the fraction of labels that
    the model agrees with."""

    low: float
    high: float
    mean: float
    count: int
    agreement: Interval


@dataclass(frozen=True)
class Calibration:
    """Bins of predicted (`mean`) and observed `agreement`, and the expected calibration error."""

    bins: tuple[Bin, ...]
    error: float


class NotFiniteScoreError(UserError):
    """A reward model's score is not finite."""


@torch.no_grad()
def score_texts(scorer: Any, batches: Iterable[Demonstrations], world: World = ALONE) -> Float[np.ndarray, "N"]:
    """Scores of demonstrations, in order. Raises NotFiniteScoreError naming the row if a score is not finite."""
    return np.concatenate([np.empty(0), *world.each(partial(_scores, scorer), batches)])


@torch.no_grad()
def score_pairs(scorer: Any, batches: Iterable[Preferences], world: World = ALONE) -> Float[np.ndarray, "N 2"]:
    """Scores of chosen and rejected, in order. Raises NotFiniteScoreError naming the row if a score is not finite."""
    return np.concatenate([np.empty((0, 2)), *world.each(partial(_scores, scorer), batches)])


def _scores(scorer: Any, batch: Demonstrations | Preferences) -> Float[np.ndarray, "..."]:
    scorer.dropout(False)
    scores = scorer.scores(batch.to(scorer.device)).double().cpu()
    finite = torch.isfinite(scores).flatten(1).all(1) if scores.dim() > 1 else torch.isfinite(scores)
    if not finite.all():
        row = batch.rows.cpu()[~finite][0].item()
        raise NotFiniteScoreError(
            f"the reward model's score for row {row} is not finite: check the row, or train the model again"
        )
    return scores.numpy()


def centre_on(scorer: LanguageScorer, batches: Iterable[Demonstrations]) -> float:
    """Centre the scorer so that these demonstrations score 0 on average; returns the mean of their uncentred scores.

    Source: Ouyang et al. (2022), section 3.5. Raises UserError without demonstrations.
    """
    scores = score_texts(scorer, batches)
    if not len(scores):
        raise UserError("centring a reward model needs demonstrations: give at least one")
    mean = float(scores.mean()) + scorer.offset
    scorer.centre(mean)
    return mean


def accuracy(margins: Float[np.ndarray, "N"]) -> Interval:
    """Fraction of labels that the margins agree with, ties counting half, with Wilson's interval."""
    return _share(accuracy_scores(margins))


def disagreement(margins: Float[np.ndarray, "M N"]) -> Float[np.ndarray, "N"]:
    """How much M reward models disagree on each pair: √((1/M) Σ (pᵢ − mean)²), pᵢ = σ(marginᵢ), between 0 and ½.

    Probabilities, so that a member with large scores counts no more than the others, and a pair of which all are sure
    counts little. Source: Christiano et al. (2017), section 2.2.4. Not a number where a member's margin is none.
    """
    return np.asarray(expit(margins)).std(0)


def calibration_curve(margins: Float[np.ndarray, "N"], bins: int = 10) -> Calibration:
    """Predicted and observed agreement with the labels, in bins with about equally many pairs.

    The order of the two responses is arbitrary, so each pair is oriented as the model prefers: the predicted agreement
    is p = σ(|margin|) ≥ ½, and agreement is observed if margin > 0. Expected calibration error:
    Σ_bins (n/N)·|mean p − observed|. Its noise does not cancel: with few pairs it is positive even for a perfectly
    calibrated model, by about half the width of an interval.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", eq. 3, there with bins of equal width.
    Raises ValueError for no pairs, or a margin that is not finite.
    """
    predicted = 1 / (1 + np.exp(-np.abs(_finite(margins))))
    curve = _bins(predicted, accuracy_scores(margins), bins)
    error = sum(b.count / len(margins) * abs(b.mean - b.agreement.mean) for b in curve)
    return Calibration(curve, float(error))


def accuracy_by_gap(
    margins: Float[np.ndarray, "N"], gaps: Num[np.ndarray, "N"], bins: int | Sequence[float] = 5
) -> tuple[Bin, ...]:
    """Accuracy by the gap between the raters' means, |chosen mean − rejected mean|, in increasing order.

    `bins` is a number of bins with about equally many pairs, or the inner edges; a gap on an edge is in the bin above.
    Touvron et al. (2023), "Llama 2", table 8: the closer two responses are, the less often a model agrees with the
    label. Raises ValueError for no pairs, or a number that is not finite.
    """
    return agreement_by_gap(accuracy_scores(_finite(margins)), gaps, bins)


def agreement_by_gap(
    agreed: Float[np.ndarray, "N"], gaps: Num[np.ndarray, "N"], bins: int | Sequence[float] = 5
) -> tuple[Bin, ...]:
    """The same where it is known how far each pair is `agreed` on, from 0 to 1."""
    return _bins(np.abs(_finite(gaps)), _finite(agreed), bins)


def rebinned(bins: Iterable[Bin], agreed: Float[np.ndarray, "N"], gaps: Num[np.ndarray, "N"]) -> tuple[Bin, ...]:
    """The bins of `agreement_by_gap` with how far pairs of the same data are agreed on by others."""
    sizes = np.abs(gaps)
    inside = [(one, (sizes >= one.low) & (sizes <= one.high)) for one in bins]
    return tuple(
        replace(one, mean=float(sizes[i].mean()), count=int(i.sum()), agreement=_share(agreed[i]))
        for one, i in inside
        if i.any()
    )


def length_correlation(scores: ArrayLike, lengths: ArrayLike) -> Interval | None:
    """Pearson correlation of scores and lengths over texts; both `[N]` or `[N, 2]`.

    None where it is undefined: fewer than three texts, or scores or lengths that are all the same.
    """
    one, other = np.ravel(np.asarray(scores, dtype=float)), np.ravel(np.asarray(lengths, dtype=float))
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return correlation(one, other)


def _share(agreed: Float[np.ndarray, "N"]) -> Interval:
    return proportion(float(agreed.sum()), len(agreed))


def _bins(x: Float[np.ndarray, "N"], agreed: Float[np.ndarray, "N"], bins: int | Sequence[float]) -> tuple[Bin, ...]:
    """Bin pairs by `x`; equal values share a bin, and empty bins are left out."""
    edges = np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1]) if isinstance(bins, int) else np.asarray(bins, float)
    place: Int[np.ndarray, "N"] = np.searchsorted(np.sort(edges), x, side="right")
    inside = [place == i for i in range(len(edges) + 1)]
    return tuple(
        Bin(float(x[i].min()), float(x[i].max()), float(x[i].mean()), int(i.sum()), _share(agreed[i]))
        for i in inside
        if i.any()
    )


def _finite(values: Num[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    numbers = np.asarray(values, dtype=float)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError("expected at least one pair, with finite numbers")
    return numbers
