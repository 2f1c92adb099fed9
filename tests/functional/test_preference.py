"""Preference losses: by hand, gradients by formula, and finite at ±1,000 in float32 and float64."""

import math
from decimal import Decimal, localcontext
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import burnish.functional as fn

from .helpers import assert_gradients, close, f64, gradients, numbers

LOG3 = math.log(3)  # σ(log 3) = ¾, σ(−log 3) = ¼


def test_bradley_terry_by_hand() -> None:
    """z = log 3: −log ¾. With a margin of 2 log 3, z = −log 3: −log ¼. With confidence 0.9: both, weighted."""
    chosen, rejected = f64([2.0 + LOG3]), f64([2.0])
    close(fn.bradley_terry(chosen, rejected), [-math.log(0.75)])
    close(fn.bradley_terry(chosen, rejected, margin=2 * LOG3), [-math.log(0.25)])
    close(fn.bradley_terry(chosen, rejected, confidence=0.9), [-0.9 * math.log(0.75) - 0.1 * math.log(0.25)])
    close(fn.bradley_terry(chosen, rejected, 0, 0), [-math.log(0.25)])
    close(fn.bradley_terry(chosen, chosen), [math.log(2)])


def test_margin_and_confidence_per_pair() -> None:
    result = fn.bradley_terry(f64([LOG3, LOG3]), f64([0.0, 0.0]), f64([0.0, 2 * LOG3]), f64([1.0, 0.5]))
    close(result, [-math.log(0.75), -0.5 * math.log(0.25) - 0.5 * math.log(0.75)])


def test_bradley_terry_gradient_by_hand() -> None:
    """∂/∂chosen = σ(z) − c = ¾ − 0.9, and the opposite for rejected."""
    chosen, rejected = f64([LOG3]).requires_grad_(), f64([0.0]).requires_grad_()
    loss = fn.bradley_terry(chosen, rejected, confidence=0.9)
    of_chosen, of_rejected = torch.autograd.grad(loss, [chosen, rejected])
    close(of_chosen, [-0.15])
    close(of_rejected, [0.15])


def test_erring_bradley_terry_by_hand() -> None:
    """z = log 3, ε = 0.1: p(z) = 0.9·¾ + 0.05 = 0.725 and p(−z) = 0.9·¼ + 0.05 = 0.275. A tie is half of each."""
    chosen, rejected = f64([2.0 + LOG3]), f64([2.0])
    close(fn.erring_bradley_terry(chosen, rejected), [-math.log(0.725)])
    close(fn.erring_bradley_terry(rejected, chosen), [-math.log(0.275)])
    close(fn.erring_bradley_terry(chosen, rejected, 0), [-math.log(0.275)])
    close(fn.erring_bradley_terry(chosen, rejected, 0.5), [-0.5 * math.log(0.725) - 0.5 * math.log(0.275)])
    close(fn.erring_bradley_terry(chosen, rejected, error=0.4), [-math.log(0.65)])
    close(fn.erring_bradley_terry(chosen, chosen, 0.3, 0.2), [math.log(2)])


def test_labels_and_errors_per_pair() -> None:
    labels, errors = f64([1.0, 0.0, 0.5]), f64([0.1, 0.4, 0.1])
    result = fn.erring_bradley_terry(f64([LOG3] * 3), f64([0.0] * 3), labels, errors)
    close(result, [-math.log(0.725), -math.log(0.35), -0.5 * math.log(0.725) - 0.5 * math.log(0.275)])


def test_erring_bradley_terry_gradient_by_hand() -> None:
    """∂/∂chosen = −(1 − ε) σ(z) σ(−z) / p(z) = −0.9 · ¾ · ¼ / 0.725 at z = log 3; the opposite for rejected."""
    chosen, rejected = f64([LOG3]).requires_grad_(), f64([0.0]).requires_grad_()
    of_chosen, of_rejected = torch.autograd.grad(fn.erring_bradley_terry(chosen, rejected), [chosen, rejected])
    close(of_chosen, [-0.16875 / 0.725])
    close(of_rejected, [0.16875 / 0.725])


def test_error_0_is_bradley_terry() -> None:
    chosen, rejected, labels = numbers(8), numbers(8, seed=1), numbers(8, seed=2).sigmoid()
    ours, theirs = (
        partial(fn.erring_bradley_terry, confidence=labels, error=0.0),
        partial(fn.bradley_terry, confidence=labels),
    )
    close(ours(chosen, rejected), theirs(chosen, rejected).tolist())
    for mine, right in zip(gradients(ours, chosen, rejected), gradients(theirs, chosen, rejected), strict=True):
        close(mine, right.tolist())


def test_a_label_that_must_be_an_error_has_a_bounded_loss_and_no_gradient() -> None:
    """p(−2000) = ε/2 = 0.05: where −log σ would be 2000, with slope −1."""
    chosen, rejected = torch.tensor([-1000.0], requires_grad=True), torch.tensor([1000.0])
    loss = fn.erring_bradley_terry(chosen, rejected)
    assert loss.item() == pytest.approx(math.log(20))
    assert torch.autograd.grad(loss, chosen)[0].item() == 0.0


def test_implicit_reward_by_hand() -> None:
    close(fn.implicit_reward(f64([-3.0]), f64([-7.0]), 0.5), [2.0])
    close(fn.implicit_reward(f64([-3.0]), f64([-7.0]), f64(2)), [8.0])


def test_dpo_family_by_hand() -> None:
    """Log-ratios 2 log 3 and 0 with β = ½: z = log 3. ε = 0.1: cDPO −0.9 log ¾ − 0.1 log ¼,
    robust (−0.9 log ¾ + 0.1 log ¼)/0.8, hinge 1 − log 3 < 0, and with β = ¼ 1 − ½ log 3."""
    chosen, rejected = f64([2 * LOG3]), f64([0.0])
    close(fn.dpo(chosen, rejected, 0.5), [-math.log(0.75)])
    close(fn.dpo(chosen, rejected, 0.5, 0.1), [-0.9 * math.log(0.75) - 0.1 * math.log(0.25)])
    close(fn.robust_dpo(chosen, rejected, 0.5, 0.1), [(-0.9 * math.log(0.75) + 0.1 * math.log(0.25)) / 0.8])
    close(fn.robust_dpo(chosen, rejected, 0.5, 0), [-math.log(0.75)])
    close(fn.hinge(chosen, rejected, 0.5), [0.0])
    close(fn.hinge(chosen, rejected, 0.25), [1 - 0.5 * LOG3])
    close(fn.hinge(rejected, chosen, 1), [1 + 2 * LOG3])


def test_dpo_of_margins_and_soft_labels_by_hand() -> None:
    """z = log 3 again, and with a margin of 2 log 3 z = −log 3. Confidence 0.8 flipped with ε = 0.1 is
    0.9·0.8 + 0.1·0.2 = 0.74."""
    chosen, rejected = f64([2 * LOG3]), f64([0.0])
    close(fn.dpo(chosen, rejected, 0.5, margin=2 * LOG3), [-math.log(0.25)])
    close(fn.dpo(chosen, rejected, 0.5, confidence=0.8), [-0.8 * math.log(0.75) - 0.2 * math.log(0.25)])
    close(fn.dpo(chosen, rejected, 0.5, 0.1, confidence=0.8), [-0.74 * math.log(0.75) - 0.26 * math.log(0.25)])
    both = fn.dpo(chosen.expand(2), rejected.expand(2), 0.5, margin=f64([0.0, 2 * LOG3]), confidence=f64([0.0, 1.0]))
    close(both, [-math.log(0.25), -math.log(0.25)])


def test_exo_by_hand() -> None:
    """z = log 3 and p = 0.9: KL of (¾, ¼) from (0.9, 0.1) is ¾ log(¾/0.9) + ¼ log(¼/0.1). At the labels' own odds
    it is 0; at z = 0 with ε = 0.001 −log 2 − ½ log(0.999 · 0.001)."""
    chosen, rejected = f64([2 * LOG3]), f64([0.0])
    close(fn.exo_pair(chosen, rejected, 0.5, 0.1), [0.75 * math.log(0.75 / 0.9) + 0.25 * math.log(2.5)])
    close(fn.exo_pair(chosen, rejected, 0.5, 0.25), [0.0])
    close(fn.exo_pair(rejected, rejected, 0.5), [-math.log(2) - 0.5 * math.log(0.000999)])
    close(fn.exo_pair(chosen, rejected, 0.5, 0.0, f64([0.9])), [0.75 * math.log(0.75 / 0.9) + 0.25 * math.log(2.5)])
    close(fn.exo_pair(chosen, rejected, 0.5, 0.1, 0.8125), [0.0])  # 0.9·0.8125 + 0.1·0.1875 = ¾


def test_soft_labels_of_simpo_by_hand() -> None:
    loss = fn.simpo(f64([LOG3]), f64([0.0]), 2.0, LOG3, 0.75)
    close(loss, [-0.75 * math.log(0.75) - 0.25 * math.log(0.25)])


def test_rankings_by_hand() -> None:
    """Scores log 3, 0, −log 3: pairs at z = log 3, 2 log 3, log 3, of losses −log ¾, −log 0.9, −log ¾, and their mean.
    Without the second answer, one pair is left; without two, nothing; and what is not there may be anything."""
    scores = f64([[LOG3, 0.0, -LOG3]] * 4)
    scores[1:3, 1:] = f64([[math.nan, -LOG3], [math.inf, math.nan]])
    answered = torch.tensor([[True] * 3, [True, False, True], [True, False, False], [False] * 3])
    close(
        fn.ranked_bradley_terry(scores, answered),
        [-(2 * math.log(0.75) + math.log(0.9)) / 3, -math.log(0.9), 0.0, 0.0],
    )


def test_a_missing_response_has_no_gradient() -> None:
    """And causes no NaN in the gradients of the others."""
    scores = f64([[LOG3, math.nan, 0.0]])
    answered = torch.tensor([[True, False, True]])
    (slope,) = gradients(lambda x: fn.ranked_bradley_terry(x, answered).exp(), scores)
    assert slope.isfinite().all()
    assert slope[0, 1] == 0
    assert slope[0, 0] != 0


def test_a_ranking_of_two_is_a_pair() -> None:
    scores, both = numbers(6, 2), torch.ones(6, 2, dtype=torch.bool)
    margins, labels = numbers(6, seed=1), numbers(6, seed=2).sigmoid()
    expected = fn.bradley_terry(scores[:, 0], scores[:, 1], margins, labels)
    close(fn.ranked_bradley_terry(scores, both, margins, labels), expected)


def test_rankings_against_loops() -> None:
    scores, margins, labels = numbers(5, 4), numbers(5, seed=1), numbers(5, seed=2).sigmoid()
    counts = [4, 3, 2, 4, 3]
    answered = torch.tensor([[i < count for i in range(4)] for count in counts])
    expected = []
    for row, count, margin, label in zip(scores.tolist(), counts, margins.tolist(), labels.tolist(), strict=True):
        losses = []
        for i in range(count):
            for j in range(i + 1, count):
                z = row[i] - row[j] - margin
                losses.append(label * math.log1p(math.exp(-z)) + (1 - label) * math.log1p(math.exp(z)))
        expected.append(sum(losses) / (count * (count - 1) / 2))
    close(fn.ranked_bradley_terry(scores, answered, margins, labels), expected)
    assert_gradients(lambda x: fn.ranked_bradley_terry(x, answered, margins, labels), scores)


def test_first_loss_is_log_2() -> None:
    zero = f64([0.0])
    for loss in (fn.dpo(zero, zero, 0.1), fn.dpo(zero, zero, 0.1, 0.3), fn.robust_dpo(zero, zero, 0.1, 0.3)):
        close(loss, [math.log(2)])


def test_beta_per_run() -> None:
    chosen, rejected = f64([[2 * LOG3], [LOG3]]), f64([[0.0], [0.0]])
    close(fn.dpo(chosen, rejected, f64([[0.5], [1.0]])), [[-math.log(0.75)]] * 2)


def test_ipo_by_hand() -> None:
    """τ = ¼ makes the target difference 2: (5 − 1 − 2)² = 4, with slope 2·2."""
    chosen = f64([5.0]).requires_grad_()
    loss = fn.ipo(chosen, f64([1.0]), tau=0.25)
    close(loss, [4.0])
    close(torch.autograd.grad(loss, chosen)[0], [4.0])
    close(fn.ipo(f64([3.0]), f64([1.0]), 0.25), [0.0])


def test_ipo_of_a_soft_label_is_the_mean_over_labels() -> None:
    """p = 0.8 and τ = ½ make the target 0.6: (1 − 0.6)² = 0.16. Mean over labels: 0.8 (1 − 1)² + 0.2 (−1 − 1)² = 0.8
    at 1, 0.8 (0 − 1)² + 0.2 (0 − 1)² = 1 at 0, where (0 − 0.6)² = 0.36: the difference is 0.64 at both."""
    one, zero = f64([1.0]), f64([0.0])
    close(fn.ipo(one, zero, 0.5, 0.8), [0.16])
    close(fn.ipo(zero, zero, 0.5, f64([0.8])), [0.36])


def test_kto_by_hand() -> None:
    """β = ½, kl = 1, at 1 + 2 log 3. Desirable: 1 − σ(log 3) = ¼; undesirable: 1 − σ(−log 3) = ¾. Weights 1.5, 3."""
    logratio, desirable = f64([1 + 2 * LOG3] * 2), torch.tensor([True, False])
    close(fn.kto(logratio, desirable, 1, 0.5), [0.25, 0.75])
    close(fn.kto(logratio, desirable, f64(1.0), 0.5, 1.5, 3.0), [0.375, 2.25])
    close(fn.kto(logratio, desirable, f64([1.0, 1 + 2 * LOG3]), 0.5), [0.25, 0.5])


def test_kto_weights_keep_float64() -> None:
    """1.33 is not exact in float32, so the weight must not be converted to it."""
    result = fn.kto(f64([0.0]), torch.tensor([True]), 0.0, 0.1, desirable_weight=1.33)
    assert result.item() == 1.33 * 0.5


def test_kto_gradients_have_the_sign_of_the_label_and_none_reaches_kl() -> None:
    """∓ β σ(z) σ(−z) = ∓ ½ · ¾ · ¼; the reference point gets no gradient."""
    logratio, kl = f64([1 + 2 * LOG3] * 2).requires_grad_(), f64(1.0).requires_grad_()
    loss = fn.kto(logratio, torch.tensor([True, False]), kl, 0.5)
    of_logratio, of_kl = torch.autograd.grad(loss.sum(), [logratio, kl], allow_unused=True)
    close(of_logratio, [-0.5 * 0.1875, 0.5 * 0.1875])
    assert of_kl is None


def test_simpo_by_hand() -> None:
    """β = 2, γ = log 3: 2 (log 3 − 0) − log 3 = log 3. γ is not multiplied by β."""
    close(fn.simpo(f64([LOG3]), f64([0.0]), beta=2.0, gamma=LOG3), [-math.log(0.75)])


def test_orpo_by_hand() -> None:
    """p = ¾ has odds 3, p = ½ odds 1: −log σ(log 3) = −log ¾. p = 0.9 against 0.5: odds 9, σ = 0.9."""
    close(fn.orpo_odds(f64([0.75, 0.9]).log(), f64([0.5, 0.5]).log()), [-math.log(0.75), -math.log(0.9)])


def exact_orpo(chosen: str, rejected: str) -> float:
    """By 60-digit decimals: log(1 + odds(rejected)/odds(chosen))."""
    with localcontext() as context:
        context.prec = 60
        odds = [p / (1 - p) for p in (Decimal(chosen).exp(), Decimal(rejected).exp())]
        return float((1 + odds[1] / odds[0]).ln())


EXTREMES = ["-1e-30", "-1e-12", "-1e-4", "-0.6931", "-5", "-40", "-1000"]


@pytest.mark.parametrize("chosen", EXTREMES)
@pytest.mark.parametrize("rejected", EXTREMES)
def test_orpo_is_exact_from_certain_to_impossible(chosen: str, rejected: str) -> None:
    expected = exact_orpo(chosen, rejected)
    result = fn.orpo_odds(f64([float(chosen)]), f64([float(rejected)])).item()
    assert result == pytest.approx(expected, rel=1e-10, abs=1e-14)
    single = fn.orpo_odds(torch.tensor([float(chosen)]), torch.tensor([float(rejected)])).item()
    assert single == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_orpo_of_certainty_is_finite() -> None:
    """A log-probability of 0, or above it by rounding, is clamped just below 0 and has no gradient."""
    for dtype in (torch.float32, torch.float64):
        sure, unsure = (torch.tensor([x], dtype=dtype) for x in (0.0, -1.0))
        assert fn.orpo_odds(sure, sure).item() == pytest.approx(math.log(2))
        assert fn.orpo_odds(sure, unsure).item() < 1e-30
        assert 50 < fn.orpo_odds(unsure, sure).item() < 1000
        for slope in gradients(fn.orpo_odds, sure, unsure) + gradients(fn.orpo_odds, unsure, sure):
            assert slope.isfinite().all()


LOSSES = {
    "bradley_terry": fn.bradley_terry,
    "smoothed": partial(fn.bradley_terry, margin=0.5, confidence=0.8),
    "erring": fn.erring_bradley_terry,
    "erring, soft": partial(fn.erring_bradley_terry, confidence=0.5, error=0.3),
    "never erring": partial(fn.erring_bradley_terry, error=0.0),
    "dpo": partial(fn.dpo, beta=1.0),
    "cdpo": partial(fn.dpo, beta=1.0, label_smoothing=0.1),
    "robust_dpo": partial(fn.robust_dpo, beta=1.0, label_smoothing=0.1),
    "hinge": partial(fn.hinge, beta=1.0),
    "ipo": partial(fn.ipo, tau=0.1),
    "exo_pair": partial(fn.exo_pair, beta=1.0),
    "simpo": partial(fn.simpo, beta=2.0, gamma=0.5),
    "orpo_odds": fn.orpo_odds,
    "kto good": lambda x, y: fn.kto(x, torch.ones_like(x, dtype=torch.bool), y.mean(), 1.0),
    "kto bad": lambda x, y: fn.kto(x, torch.zeros_like(x, dtype=torch.bool), y.mean(), 1.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_finite_at_a_thousand(name: str, dtype: torch.dtype) -> None:
    for chosen, rejected in [(1000.0, -1000.0), (-1000.0, 1000.0), (1000.0, 1000.0), (-1000.0, -1000.0)]:
        inputs = torch.tensor([chosen], dtype=dtype), torch.tensor([rejected], dtype=dtype)
        assert LOSSES[name](*inputs).isfinite().all()
        assert all(slope.isfinite().all() for slope in gradients(LOSSES[name], *inputs))


def test_loss_is_linear_for_pairs_far_on_the_wrong_side() -> None:
    """−log σ(−2000) = 2000 in float32, with slope −1: not log(exp(2000) + 1) = ∞, and not a flat 0."""
    chosen, rejected = torch.tensor([-1000.0], requires_grad=True), torch.tensor([1000.0])
    loss = fn.bradley_terry(chosen, rejected)
    assert loss.item() == 2000.0
    assert torch.autograd.grad(loss, chosen)[0].item() == -1.0


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name: str) -> None:
    """Log-probabilities below 0, away from the kink of the hinge; KTO only in its first argument."""
    chosen, rejected = -numbers(8).abs() - 0.1, -numbers(8, seed=1).abs() - 0.1
    if name.startswith("kto"):
        assert_gradients(lambda x: LOSSES[name](x, rejected), chosen)
    else:
        assert_gradients(LOSSES[name], chosen, rejected)


def test_robust_dpo_refuses_random_labels() -> None:
    with pytest.raises(ValueError, match=r"below 0\.5 for robust DPO"):
        fn.robust_dpo(f64([1.0]), f64([0.0]), 0.1, 0.5)


@given(st.floats(-20, 20), st.floats(0, 0.45))
def test_robust_dpo_is_unbiased_under_flips(z: float, flip: float) -> None:
    """(1 − ε) ℓ(label) + ε ℓ(flipped label) is the loss of the true label."""
    right, wrong = f64([z]), f64([0.0])
    mean = (1 - flip) * fn.robust_dpo(right, wrong, 1.0, flip) + flip * fn.robust_dpo(wrong, right, 1.0, flip)
    close(mean, [math.log1p(math.exp(-z))], tolerance=1e-10)
