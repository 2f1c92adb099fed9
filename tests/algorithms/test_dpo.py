"""DPO: by hand, by loops, and as the Bradley–Terry loss of implicit rewards."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from phases import ready

from burnish.algorithms.dpo import DPO
from burnish.batches import PreparedPreferences
from burnish.functional import bradley_terry, implicit_reward
from burnish.policies.interface import Models
from burnish.policies.language.reference import cached_reference
from burnish.training.step import gradient, objective

from .one_pair import learned, rewards_of, same, sigma, softplus

PAIRS = tiny.random_pairs(5, seed=6)


def by_hand(chosen: list[float], rejected: list[float], algorithm: DPO) -> tuple[float, dict, torch.Tensor]:
    """One pair of two tokens each; the reference has −1 everywhere."""
    mask = [False, True, True]
    batch = tiny.preferences([[([0, 4, 5], mask), ([0, 6, 7], mask)]])
    values = torch.tensor([[[7.0, *chosen], [7.0, *rejected]]], requires_grad=True)
    models = Models(policy=tiny.Table(values), reference=tiny.Table(torch.full((1, 2, 3), -1.0)))
    prepared = ready(algorithm, models, batch)
    loss = algorithm.loss(models, prepared)
    value = objective(loss, prepared.counts())
    value.backward()
    assert values.grad is not None
    return value.item(), {k: v.tolist() for k, v in loss.metrics.items()}, values.grad


def test_the_loss_by_hand() -> None:
    """Log-ratios: chosen (−1 −2) − (−2) = −1, rejected (−3 −4) − (−2) = −5; β = ½, so z = ½ · 4 = 2. The loss is
    −log σ(2), and its gradient ∓½·(1 − σ(2)) for each token of the chosen and the rejected."""
    value, metrics, slope = by_hand([-1.0, -2.0], [-3.0, -4.0], DPO(beta=0.5))
    assert value == pytest.approx(-math.log(sigma(2)))
    step = 0.5 * (1 - sigma(2))
    torch.testing.assert_close(slope, torch.tensor([[[0, -step, -step], [0, step, step]]]))
    assert metrics == {
        "rewards/chosen": [-0.5],
        "rewards/rejected": [-2.5],
        "rewards/accuracies": [1.0],
        "rewards/margins": [2.0],
        "logps/chosen": [-3.0],
        "logps/rejected": [-7.0],
    }


def test_label_smoothing_by_hand() -> None:
    """z = 2 again: −0.9 log σ(2) − 0.1 log σ(−2), and the slope ∓½·(0.9·(1 − σ(2)) − 0.1·σ(2))."""
    value, _, slope = by_hand([-1.0, -2.0], [-3.0, -4.0], DPO(beta=0.5, label_smoothing=0.1))
    assert value == pytest.approx(-0.9 * math.log(sigma(2)) - 0.1 * math.log(sigma(-2)))
    step = 0.5 * (0.9 * (1 - sigma(2)) - 0.1 * sigma(2))
    torch.testing.assert_close(slope, torch.tensor([[[0, -step, -step], [0, step, step]]]))


def test_accuracy_counts_a_tie_as_half() -> None:
    for rejected, expected in ((-3.0, 1.0), (-1.0, 0.5), (-0.5, 0.0)):
        _, metrics, _ = by_hand([-1.0, -1.0], [rejected, rejected], DPO())
        assert metrics["rewards/accuracies"] == [expected]


def test_its_options_by_hand() -> None:
    """Log-ratios −1 and −6, a token's −½ and −2 (see `one_pair`); β = ½ gives z = 2.5.

    Length-normalised, ½ · 1.5. Other divergences: forward KL f′ = 1 − 1/u, so e⁶ − e; Jensen–Shannon log 2u/(1 + u);
    α = ½ 2 (1 − 1/√u), so 2 (e³ − √e). Likelihood: 0.2 · (1 + 2)/2. A margin of 3 at a weight of ½: z = 1."""
    assert learned(DPO(0.5, length_normalised=True))[0] == pytest.approx(softplus(-0.75))
    assert learned(DPO(0.005, divergence="forward_kl"))[0] == pytest.approx(softplus(-0.005 * (math.e**6 - math.e)))
    js = math.log(2 * math.exp(-1) / (1 + math.exp(-1))) - math.log(2 * math.exp(-6) / (1 + math.exp(-6)))
    assert learned(DPO(0.5, divergence="js"))[0] == pytest.approx(softplus(-0.5 * js))
    assert learned(DPO(0.05, divergence="alpha", alpha=0.5))[0] == pytest.approx(
        softplus(-0.1 * (math.exp(3) - math.exp(0.5)))
    )
    assert learned(DPO(0.5, nll_weight=0.2))[0] == pytest.approx(softplus(-2.5) + 0.3)
    assert learned(DPO(0.5, margin_weight=0.5), margin=3.0)[0] == pytest.approx(softplus(-1))
    assert learned(DPO(0.5), margin=3.0)[0] == pytest.approx(softplus(-2.5))
    assert learned(DPO(0.5), confidence=0.8)[0] == pytest.approx(0.8 * softplus(-2.5) + 0.2 * softplus(2.5))
    both = learned(DPO(0.5, label_smoothing=0.1), confidence=0.8)[0]
    assert both == pytest.approx(0.74 * softplus(-2.5) + 0.26 * softplus(2.5))
    smooth = learned(DPO(0.5, label_smoothing=0.1, divergence="js"))[0]
    assert smooth == pytest.approx(0.9 * softplus(-0.5 * js) + 0.1 * softplus(0.5 * js))


def test_slopes_of_its_options_by_hand() -> None:
    """Length-normalised, a token has its share of the response's; imitation pushes each chosen token by −w/2."""
    push = 0.5 * (1 - sigma(0.75))
    same(learned(DPO(0.5, length_normalised=True))[1], -push / 2, push / 3)
    push = 0.5 * (1 - sigma(2.5))
    same(learned(DPO(0.5, nll_weight=0.2))[1], -push - 0.1, push)


def test_rewards_are_those_of_the_loss() -> None:
    assert rewards_of(DPO(0.5)) == [-0.5, -3.0]
    assert rewards_of(DPO(0.5, length_normalised=True)) == [-0.25, -1.0]
    assert rewards_of(DPO(0.5, divergence="forward_kl")) == pytest.approx([0.5 - 0.5 * math.e, 0.5 - 0.5 * math.e**6])


def pair_of_models(tmp_path: Path) -> tuple[Models, Any]:
    """A policy that has moved away from its reference, with the reference's own copy as an oracle."""
    policy, start = tiny.make_policy("gpt2"), tiny.make_policy("gpt2")
    batch = tiny.preferences(PAIRS)
    reference = cached_reference(policy, lambda: [batch], "pairs", tmp_path)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in policy.parameters().values():
            p.add_(0.05 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return Models(policy=policy, reference=reference), start


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_gradient_and_metrics_are_the_loops(smoothing: float, tmp_path: Path) -> None:
    models, start = pair_of_models(tmp_path)
    algorithm, batch = DPO(beta=0.7, label_smoothing=smoothing), tiny.preferences(PAIRS)
    found = gradient(algorithm, models, ready(algorithm, models, batch))
    ours = {name: p.grad.clone() for name, p in models.policy.parameters().items()}
    models.policy.model.zero_grad()  # type: ignore[attr-defined]
    total, right, rewards = 0, 0.0, []
    for pair in PAIRS:
        logratios = []
        for ids, mask in pair:
            policy_sum = sum(tiny.naive_logprobs(models.policy.model, ids, mask))  # type: ignore[attr-defined]
            with torch.no_grad():
                start_sum = sum(tiny.naive_logprobs(start.model, ids, mask))
            logratios.append(policy_sum - start_sum)
        z = 0.7 * (logratios[0] - logratios[1])
        total = total - (1 - smoothing) * torch.log(1 / (1 + torch.exp(-z)))
        total = total - smoothing * torch.log(1 / (1 + torch.exp(z)))
        right += z.item() > 0
        rewards.append(0.7 * logratios[0].item())
    (total / len(PAIRS)).backward()
    assert found["loss"] == pytest.approx(total.item() / len(PAIRS), abs=1e-6)
    assert found["rewards/accuracies"] == pytest.approx(right / len(PAIRS))
    assert found["rewards/chosen"] == pytest.approx(sum(rewards) / len(PAIRS), abs=1e-5)
    for name, p in models.policy.parameters().items():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-5, atol=1e-6)


def test_the_reference_has_no_gradient(tmp_path: Path) -> None:
    models, _ = pair_of_models(tmp_path)
    batch = tiny.preferences(PAIRS)
    prepared = ready(DPO(), models, batch)
    assert prepared.batch is batch
    assert prepared.ref_logprobs is not None
    assert not prepared.ref_logprobs.requires_grad


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_the_first_loss_is_ln_2(family: str, tmp_path: Path) -> None:
    """In float32, the reference computed in batches of another size than the policy."""
    policy = tiny.make_policy(family, double=False)
    batch = tiny.preferences(tiny.random_pairs(12, seed=1))
    walk = [batch.select(slice(i, i + 5)) for i in range(0, 12, 5)]
    models = Models(policy=policy, reference=cached_reference(policy, lambda: walk, "data", tmp_path))
    algorithm = DPO(beta=1.0)
    found = gradient(algorithm, models, ready(algorithm, models, batch.select(torch.tensor([3, 8, 1, 10]))), 3)
    assert found["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert found["rewards/margins"] == pytest.approx(0, abs=1e-5)


def test_it_is_bradley_terry_of_implicit_rewards(tmp_path: Path) -> None:
    models, _ = pair_of_models(tmp_path)
    algorithm, batch = DPO(beta=0.3, label_smoothing=0.1), tiny.preferences(PAIRS)
    prepared = ready(algorithm, models, batch)
    with torch.no_grad():
        loss = algorithm.loss(models, prepared).terms["dpo"].losses
        sums = models.policy.logprobs(batch).sum(-1)
        rewards = implicit_reward(sums, prepared.ref_logprobs.sum(-1), 0.3)  # type: ignore[union-attr]
    torch.testing.assert_close(loss, bradley_terry(rewards[:, 0], rewards[:, 1], confidence=0.9))


def test_a_pair_of_which_one_has_no_answer_counts_nowhere(tmp_path: Path) -> None:
    policy = tiny.make_policy("gpt2")
    silent = [PAIRS[0][0], (PAIRS[0][1][0], [False] * len(PAIRS[0][1][1]))]
    both, alone = tiny.preferences([PAIRS[1], silent]), tiny.preferences([PAIRS[1]])
    found = []
    for number, batch in enumerate((both, alone)):
        prepared = PreparedPreferences(batch, torch.zeros(batch.mask.shape))
        found.append(gradient(DPO(), Models(policy=policy), prepared))
        assert int(batch.counts()["row"]) == 1, number
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize(
    "options",
    [
        {"beta": 0.0},
        {"beta": math.nan},
        {"label_smoothing": 0.5},
        {"nll_weight": -0.1},
        {"margin_weight": math.inf},
        {"alpha": 0.5},
        {"alpha": 1.0, "divergence": "alpha"},
        {"divergence": "alpha"},
        {"length_normalised": True, "divergence": "js"},
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        DPO(**options)
