"""KTO: by hand, by loops, and the same however a batch is cut."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from phases import ready
from torch import Tensor

from burnish.algorithms.kto import KTO
from burnish.batches import Feedback, PreparedFeedback
from burnish.policies.interface import Models
from burnish.policies.language.reference import cached_reference
from burnish.training.step import added, evaluate, gradient, prepared

from .one_pair import sigma

ROWS = tiny.random_pairs(6, seed=6)
DESIRABLE = [True, False, False, True, True, False]


def feedback(rows: list = ROWS, desirable: list[bool] = DESIRABLE, filler: int = 0, extra: int = 0) -> Feedback:
    batch = tiny.preferences(rows, filler, extra)
    return Feedback(batch.tokens, batch.mask, batch.lengths, batch.rows, torch.tensor(desirable))


class Told(tiny.Table):
    """A policy whose log-probabilities are written down, `[N, 2, T]`; which response is asked for, its tokens tell."""

    def logprobs(self, batch: Any) -> Tensor:
        if batch.tokens.dim() == 3:
            return self.values[batch.rows]
        return self.values[batch.rows, batch.tokens[:, 1] - 4]


def by_hand(
    algorithm: KTO, own: list[float], other: list[float]
) -> tuple[float, dict[str, float], Tensor, PreparedFeedback]:
    """Two rows of one token each: the first good, the second bad. The reference has −1 everywhere."""
    texts = [([0, 4], [False, True]), ([0, 5], [False, True])]
    batch = feedback([texts, texts], [True, False])
    values = torch.tensor([[[9.0, a], [9.0, b]] for a, b in zip(own, other, strict=True)], dtype=torch.float64)
    values.requires_grad_()
    models = Models(policy=Told(values), reference=tiny.Table(torch.full(values.shape, -1.0)))
    prepared = ready(algorithm, models, batch)
    told = gradient(algorithm, models, prepared)
    assert values.grad is not None
    return told["loss"], told, values.grad[:, 0, 1], prepared


def test_by_hand() -> None:
    """Own log-ratios 3 and 1, mismatched 1 and 2, so z₀ = 1.5; β = ½. Good: 1 − σ(0.75); bad: 1 − σ(0.25). The loss is
    their mean, and its slopes −¼ σ(z) σ(−z) and ¼ σ(z) σ(−z)."""
    loss, told, slope, prepared = by_hand(KTO(beta=0.5), [2.0, 0.0], [0.0, 1.0])
    assert (prepared.kl.item(), prepared.kl.requires_grad) == (1.5, False)
    assert loss == pytest.approx((sigma(-0.75) + sigma(-0.25)) / 2)
    assert slope.tolist() == pytest.approx(
        [-0.25 * sigma(0.75) * sigma(-0.75), 0.25 * sigma(0.25) * sigma(-0.25)], abs=1e-12
    )
    expected = {"kl": 1.5, "rewards/chosen": 1.5, "rewards/rejected": 0.5, "logps/chosen": 2.0, "logps/rejected": 0.0}
    assert {name: told[name] for name in expected} == pytest.approx(expected)


def test_a_policy_that_fell_is_measured_from_the_reference() -> None:
    """Mismatched log-ratios −2 and 1 have a mean of −½, and z₀ is 0: 1 − σ(1.5) and 1 − σ(−½)."""
    loss, told, _, prepared = by_hand(KTO(beta=0.5), [2.0, 0.0], [-3.0, 0.0])
    assert prepared.kl.item() == -0.5
    assert told["kl"] == 0.0
    assert loss == pytest.approx((sigma(-1.5) + sigma(0.5)) / 2)


def test_weights_by_hand() -> None:
    loss, _, _, _ = by_hand(KTO(beta=0.5, desirable_weight=1.5, undesirable_weight=3.0), [2.0, 0.0], [0.0, 1.0])
    assert loss == pytest.approx((1.5 * sigma(-0.75) + 3 * sigma(-0.25)) / 2)


def moved_models(batch: Feedback, folder: Path) -> tuple[Models, Any]:
    """A policy that has moved away from its reference, with the reference's own copy as an oracle."""
    policy, start = tiny.make_policy("gpt2"), tiny.make_policy("gpt2")
    reference = cached_reference(policy, lambda: [batch], "feedback", folder)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in policy.parameters().values():
            p.add_(0.05 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return Models(policy=policy, reference=reference), start


def test_loss_gradient_and_metrics_are_the_loops(tmp_path: Path) -> None:
    batch = feedback()
    models, start = moved_models(batch, tmp_path)
    algorithm = KTO(beta=0.7, desirable_weight=1.2, undesirable_weight=0.8)
    found = gradient(algorithm, models, ready(algorithm, models, batch), 2)
    ours = {name: p.grad.clone() for name, p in models.policy.parameters().items()}  # type: ignore[union-attr]
    model = models.policy.model  # type: ignore[attr-defined]
    model.zero_grad()
    ratios = []
    for row in ROWS:
        for ids, mask in row:
            with torch.no_grad():
                before = sum(tiny.naive_logprobs(start.model, ids, mask))
            ratios.append(sum(tiny.naive_logprobs(model, ids, mask)) - before)
    level = max(0.0, sum(ratio.item() for ratio in ratios[1::2]) / 6)  # type: ignore[union-attr]
    total = torch.zeros(())
    for ratio, good in zip(ratios[::2], DESIRABLE, strict=True):
        z = 0.7 * (ratio - level)
        total = total + (1.2 * (1 - 1 / (1 + torch.exp(-z))) if good else 0.8 * (1 - 1 / (1 + torch.exp(z))))  # type: ignore[arg-type]
    (total / 6).backward()
    assert found["loss"] == pytest.approx(total.item() / 6, abs=1e-6)
    assert found["kl"] == pytest.approx(level, abs=1e-5)
    good = [0.7 * ratio.item() for ratio, kind in zip(ratios[::2], DESIRABLE, strict=True) if kind]  # type: ignore[union-attr]
    assert found["rewards/chosen"] == pytest.approx(sum(good) / 3, abs=1e-5)
    for name, p in models.policy.parameters().items():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-5, atol=1e-6)


def test_the_first_losses_are_one_half(tmp_path: Path) -> None:
    policy, batch = tiny.make_policy("llama", double=False), feedback()
    models = Models(policy=policy, reference=cached_reference(policy, lambda: [batch], "data", tmp_path))
    found = gradient(KTO(), models, ready(KTO(), models, batch), 3)
    assert found["loss"] == pytest.approx(0.5, abs=1e-5)
    assert found["kl"] == pytest.approx(0, abs=1e-5)


def test_evaluation_in_batches_has_one_reference_point(tmp_path: Path) -> None:
    """z₀ is that of all the data, clamped once: batches of which one fell and one rose share it."""
    batch = feedback()
    models, _ = moved_models(batch, tmp_path)
    whole = evaluate(KTO(), models, [batch])
    parts = [batch.select(slice(0, 1)), batch.select(slice(1, 4)), batch.select(slice(4, 6))]
    assert evaluate(KTO(), models, parts) == pytest.approx(whole, abs=1e-9)
    levels = [ready(KTO(), models, part).kl.item() for part in parts]  # type: ignore[union-attr]
    assert len({round(level, 6) for level in levels}) == 3


def test_the_sums_of_two_parts_by_hand() -> None:
    """Mismatched log-ratios 1 and 2 in the first part, −6 in the second: −3 of 3, so z₀ is that of −1 in both, where
    alone the first would have 1.5."""
    texts = [([0, 4], [False, True]), ([0, 5], [False, True])]
    whole = feedback([texts] * 3, [True, False, True])
    values = torch.tensor([[[9.0, -1.0], [9.0, other]] for other in (0.0, 1.0, -7.0)])
    models = Models(policy=Told(values), reference=tiny.Table(torch.full((1, 2, 2), -1.0)))
    parts = [whole.select(slice(0, 2)), whole.select(slice(2, 3))]
    sums = [KTO().statistics(models, part) for part in parts]
    assert [(one["moved"].item(), one["mismatched"].item()) for one in sums] == [(3.0, 2), (-6.0, 1)]
    total = added(sums)
    assert (total["moved"].item(), total["mismatched"].item()) == (-3.0, 3)
    assert [KTO().prepare(models, part, total).kl.item() for part in parts] == [-1.0, -1.0]
    assert KTO().prepare(models, parts[0], sums[0]).kl.item() == 1.5


def test_parts_are_prepared_as_the_whole_is(tmp_path: Path) -> None:
    batch = feedback()
    models, _ = moved_models(batch, tmp_path)
    whole = ready(KTO(), models, batch)
    parts = prepared(KTO(), models, [batch.select(slice(0, 1)), batch.select(slice(1, 6))], {})
    for part in parts:
        assert part.kl.item() == pytest.approx(whole.kl.item(), rel=1e-9)
    torch.testing.assert_close(torch.cat([part.ref_logprobs for part in parts]), whole.ref_logprobs)


def test_a_batch_of_one_kind_tells_nothing_of_the_other(tmp_path: Path) -> None:
    batch = dataclasses.replace(feedback(), desirable=torch.tensor([True] * 6))
    models, _ = moved_models(batch, tmp_path)
    prepared = ready(KTO(), models, batch)
    found = gradient(KTO(), models, prepared)
    assert "rewards/chosen" in found
    assert not {"rewards/rejected", "logps/rejected"} & found.keys()
    counts = {name: int(count) for name, count in prepared.counts().items()}
    assert counts["desirable"] == counts["row"] == 6
    assert counts["undesirable"] == 0


def test_a_row_without_a_response_counts_nowhere(tmp_path: Path) -> None:
    """Neither in the loss nor, without a mismatched one, in the reference point."""
    batch = feedback()
    models, _ = moved_models(batch, tmp_path)
    mask = batch.mask.clone()
    mask[2] = False
    kept = batch.select(torch.tensor([0, 1, 3, 4, 5]))
    results = []
    for one in (dataclasses.replace(batch, mask=mask), kept):
        unlikely = torch.full(one.mask.shape, -9.0, dtype=torch.float64)  # so that the policy seems to have risen
        prepared = ready(KTO(), Models(policy=models.policy, reference=tiny.Table(unlikely)), one)
        assert prepared.kl > 1
        results.append(gradient(KTO(), Models(policy=models.policy), prepared))
    assert results[0] == pytest.approx(results[1], abs=1e-9)


@pytest.mark.parametrize(
    "options",
    [{"beta": 0.0}, {"beta": math.nan}, {"desirable_weight": -1.0}, {"undesirable_weight": math.inf}],
)
def test_hyperparameters_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        KTO(**options)


def test_two_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be learned"):
        KTO(desirable_weight=0.0, undesirable_weight=0.0)
