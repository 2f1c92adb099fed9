"""Accuracy, calibration and centring of reward models: by hand, and of scores that follow the model they should."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import tiny
import torch
from tiny_scorers import make_scorer, naive_score

from burnish.evaluation.reward_models import (
    accuracy,
    accuracy_by_gap,
    agreement_by_gap,
    calibration_curve,
    centre_on,
    disagreement,
    length_correlation,
    rebinned,
    score_pairs,
    score_texts,
)
from burnish.run import UserError

ROWS = tiny.random_rows(7, seed=3)
PAIRS = tiny.random_pairs(5, seed=2)


def test_scores_are_the_oracles_in_order() -> None:
    scorer = make_scorer(resid_pdrop=0.5)
    scorer.dropout(True)
    batch, pairs = tiny.demonstrations(ROWS), tiny.preferences(PAIRS)
    scores = score_texts(scorer, [batch.select(slice(0, 3)), batch.select(slice(3, 7))])
    both = score_pairs(scorer, [pairs.select(slice(0, 1)), pairs.select(slice(1, 5))])
    with torch.no_grad():
        expected = [naive_score(scorer.model, ids).item() for ids, _ in ROWS]
        expected_both = [[naive_score(scorer.model, ids).item() for ids, _ in pair] for pair in PAIRS]
    assert scores == pytest.approx(expected, abs=1e-9)
    assert both == pytest.approx(np.array(expected_both), abs=1e-9)
    assert (scores.dtype, both.shape) == (np.float64, (5, 2))
    assert (score_texts(scorer, []).shape, score_pairs(scorer, []).shape) == ((0,), (0, 2))


def test_a_score_that_is_not_finite_names_its_row() -> None:
    scorer = make_scorer()
    with torch.no_grad():
        scorer.model.get_input_embeddings().weight[7] = math.nan
    rows = [([0, 4, 5], [False] * 3), ([0, 6], [False] * 2), ([0, 7, 5], [False] * 3)]
    with pytest.raises(UserError, match="row 2 is not finite"):
        score_texts(scorer, [tiny.demonstrations(rows)])
    with pytest.raises(UserError, match="row 1 is not finite"):
        score_pairs(scorer, [tiny.preferences([[rows[0], rows[1]], [rows[0], rows[2]]])])


def test_demonstrations_score_0_once_centred_on() -> None:
    """Centring again, on others or on the same, leaves nothing of the offset that was."""
    scorer = make_scorer()
    with torch.no_grad():
        raw = [naive_score(scorer.model, ids).item() for ids, _ in ROWS]
    batch = tiny.demonstrations(ROWS)
    for some in ([0, 1, 2], [3, 4, 5, 6], [3, 4, 5, 6]):
        mean = centre_on(scorer, [batch.select(torch.tensor(some[:2])), batch.select(torch.tensor(some[2:]))])
        assert mean == pytest.approx(sum(raw[i] for i in some) / len(some), abs=1e-9)
        assert scorer.offset == mean
    scores = score_texts(scorer, [batch])
    assert scores[3:].mean() == pytest.approx(0, abs=1e-9)
    assert scores == pytest.approx(np.array(raw) - mean, abs=1e-9)
    with pytest.raises(UserError, match="at least one"):
        centre_on(scorer, [])


def test_accuracy_by_hand() -> None:
    """Three of four agreed with, a tie for half: 3.5 of 5. Wilson's ends: z² = 3.8415, p = 0.7, n = 5, so the centre
    is (0.7 + 0.38415)/1.7683 = 0.61310 and half the width 1.95996·√(0.042 + 0.038415)/1.7683 = 0.31431."""
    found = accuracy(np.array([2.0, 0.1, -0.5, 0.0, 3.0]))
    assert found.mean == 0.7
    assert (found.low, found.high) == pytest.approx((0.29879, 0.92741), abs=1e-4)


def test_calibration_by_hand() -> None:
    """Margins ±log 1.5 (predicted 0.6) with 2 of 4 agreed, ±log 9 (predicted 0.9) with 3 of 4 agreed: the error is
    ½·|0.6 − 0.5| + ½·|0.9 − 0.75| = 0.125."""
    near, far = math.log(1.5), math.log(9)
    curve = calibration_curve(np.array([near, far, -near, far, near, -far, -near, far]), bins=2)
    assert [b.count for b in curve.bins] == [4, 4]
    assert [b.mean for b in curve.bins] == pytest.approx([0.6, 0.9])
    assert [b.agreement.mean for b in curve.bins] == [0.5, 0.75]
    assert curve.error == pytest.approx(0.125)
    assert all(b.agreement.low < b.agreement.mean < b.agreement.high for b in curve.bins)


def test_a_bin_weighs_as_many_pairs_as_it_has() -> None:
    """One pair predicted at 0.6 and agreed, three at 0.9 with 2 agreed: ¼·|0.6 − 1| + ¾·|0.9 − ⅔| = 0.275."""
    near, far = math.log(1.5), math.log(9)
    curve = calibration_curve(np.array([far, near, -far, far]), bins=2)
    assert [b.count for b in curve.bins] == [1, 3]
    assert curve.error == pytest.approx(0.275)


def test_labels_drawn_from_the_model_are_calibrated_and_a_boaster_is_not() -> None:
    """Label flips with probability σ(−m), so the model is right as often as it predicts; with margins three times as
    large it claims σ(3|m|) where σ(|m|) comes true, and every bin's observed agreement lies below."""
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 1.5, 20_000)
    labelled = np.where(rng.random(20_000) < 1 / (1 + np.exp(-margins)), margins, -margins)
    honest, boaster = calibration_curve(labelled), calibration_curve(3 * labelled)
    assert honest.error < 0.015
    assert boaster.error > 0.1
    assert [b.count for b in honest.bins] == [2000] * 10
    assert sum(b.agreement.low <= b.mean <= b.agreement.high for b in honest.bins) >= 8
    assert all(b.agreement.mean < b.mean for b in boaster.bins[1:])
    assert all(one.high <= other.low for one, other in zip(honest.bins, honest.bins[1:], strict=False))


def test_a_model_that_knows_nothing_predicts_one_half() -> None:
    (only,) = calibration_curve(np.zeros(6), bins=3).bins
    assert (only.mean, only.agreement.mean, only.count) == (0.5, 0.5, 6)


def test_large_margins_do_not_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        (only,) = calibration_curve(np.array([900.0, 900.0, -900.0]), bins=1).bins
    assert only.mean == 1.0
    assert only.agreement.mean == pytest.approx(2 / 3)


def test_accuracy_by_gap_by_hand() -> None:
    """Gaps below 1: wrong, right. From 1 on: right, right, tied; a gap on the edge lies above it. Nothing lies below
    0.1 or beyond 5.
    Only the size of a gap counts, and edges may come in any order."""
    margins, gaps = np.array([-1.0, 2.0, 3.0, 1.0, 0.0]), np.array([0.2, 0.9, 1.0, -4.0, 2.0])
    near, far = accuracy_by_gap(margins, gaps, bins=[0.1, 5.0, 1.0])
    assert (near.low, near.high, near.count, near.agreement.mean) == (0.2, 0.9, 2, 0.5)
    assert (near.mean, far.mean) == pytest.approx((0.55, 7 / 3))
    assert (far.low, far.high, far.count) == (1.0, 4.0, 3)
    assert far.agreement.mean == pytest.approx(2.5 / 3)


def test_a_pair_may_be_agreed_on_in_part() -> None:
    near, far = agreement_by_gap(np.array([0.25, 1.0, 0.5]), np.array([1.0, 2.0, -3.0]), bins=[2.0])
    assert (near.count, near.agreement.mean, far.count, far.agreement.mean) == (1, 0.25, 2, 0.75)


def test_what_others_agree_on_has_the_same_bins() -> None:
    """Others know three of the first of two bins, and in another case one of the second."""
    bins = accuracy_by_gap(np.array([1.0, -1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0]), bins=2)
    (near,) = rebinned(bins, np.array([1.0, 0.0, 0.0]), np.array([-1.0, 2.0, 1.0]))
    assert (near.low, near.high, near.count, near.mean) == (1.0, 2.0, 3, pytest.approx(4 / 3))
    assert near.agreement.mean == pytest.approx(1 / 3)
    (far,) = rebinned(bins, np.array([1.0]), np.array([3.5]))
    assert (far.low, far.high, far.count, far.agreement.mean) == (3.0, 4.0, 1, 1.0)


def test_quantile_bins_hold_equally_many_and_equal_gaps_stay_together() -> None:
    """Nine gaps 1 … 9 in three bins are three each; of four equal gaps and two larger ones, no bin splits the four."""
    bins = accuracy_by_gap(np.ones(9), np.arange(9.0, 0, -1), bins=3)
    assert [(b.low, b.high, b.count) for b in bins] == [(1, 3, 3), (4, 6, 3), (7, 9, 3)]
    bins = accuracy_by_gap(np.ones(6), np.array([1.0, 1, 1, 1, 2, 3]), bins=3)
    assert sorted(b.count for b in bins if b.low == 1) == [4]
    assert sum(b.count for b in bins) == 6


def test_numbers_that_make_no_sense_are_refused() -> None:
    for wrong in (np.array([]), np.array([1.0, math.nan])):
        with pytest.raises(ValueError, match="finite"):
            calibration_curve(wrong)
        with pytest.raises(ValueError, match="finite"):
            accuracy_by_gap(np.ones(len(wrong)), wrong)


def test_the_correlation_of_score_with_length() -> None:
    """Scores (1, 2, 3, 5) and lengths (2, 2, 4, 4): covariance sum 1.75 + 0.75 + 0.25 + 2.25 = 5 over
    √(8.75 · 4) = 5.9161. The same texts as pairs have the same correlation."""
    scores, lengths = [1.0, 2.0, 3.0, 5.0], [2, 2, 4, 4]
    found = length_correlation(scores, lengths)
    assert found is not None
    assert found.mean == pytest.approx(5 / math.sqrt(35))
    assert found.low <= found.mean <= found.high
    assert length_correlation(np.reshape(scores, (2, 2)), np.reshape(lengths, (2, 2))) == found


@pytest.mark.parametrize(("scores", "lengths"), [([1, 2], [3, 4]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5])])
def test_there_is_no_correlation_where_nothing_varies(scores: list[float], lengths: list[int]) -> None:
    assert length_correlation(scores, lengths) is None


def test_what_is_returned_is_ready_for_json() -> None:
    curve = calibration_curve(np.array([1.0, -1.0, 2.0]), bins=2)
    read = json.loads(json.dumps(asdict(curve)))
    assert read["error"] == curve.error
    assert read["bins"][0]["agreement"]["mean"] == curve.bins[0].agreement.mean


def test_disagreement_is_of_probabilities() -> None:
    """Of ½ and ¾ it is 1/8; of 1 and 1 none, however far the margins lie apart; and of 1 and 0 the most, ½."""
    margins = np.array([[0.0, 1e3, 1e3, np.nan], [math.log(3), 2e3, -1e3, 0.0]])
    assert disagreement(margins) == pytest.approx([0.125, 0.0, 0.5, math.nan], nan_ok=True)
