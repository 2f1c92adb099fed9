"""Online DPO: the loss is DPO's own, to the bit; its optimum and its first gradient, by enumeration of all pairs."""

import dataclasses
import math
from itertools import product
from types import SimpleNamespace

import pytest
import tabular
import tiny
import torch
from phases import ready
from torch import Tensor

from burnish.algorithms.dpo import DPO
from burnish.algorithms.online_dpo import OnlineDPO
from burnish.batches import Preferences, PreparedPreferences
from burnish.policies.interface import Models
from burnish.training.step import gradient


def models() -> Models:
    policy, reference = (tiny.make_policy("gpt2", seed=seed) for seed in (0, 1))
    return Models(policy=policy, reference=reference)


OPTIONS = {"beta": 0.7, "label_smoothing": 0.2, "nll_weight": 0.3}


@pytest.mark.parametrize("changed", [*OPTIONS, "all"])
def test_the_loss_is_that_of_dpo(changed: str) -> None:
    """And not that of DPO without the option."""
    options = OPTIONS if changed == "all" else {changed: OPTIONS[changed]}
    both, batch = models(), tiny.preferences(tiny.random_pairs(5, seed=4))
    pairs = PreparedPreferences(batch, both.reference.logprobs(batch).detach())
    found = []
    for algorithm in (OnlineDPO(**options), DPO(**options), DPO()):
        both.policy.model.zero_grad()  # type: ignore[attr-defined]
        numbers = gradient(algorithm, both, pairs)
        found.append((numbers, {name: p.grad.clone() for name, p in both.policy.parameters().items()}))
    assert found[0][0] == found[1][0] != found[2][0]
    for name, slope in found[0][1].items():
        assert torch.equal(slope, found[1][1][name])


def test_the_reference_that_pairs_bring_counts() -> None:
    """Which may be newer than the models': nothing is computed again."""
    both, batch = models(), tiny.preferences(tiny.random_pairs(5, seed=4))
    newer = PreparedPreferences(batch, torch.randn(batch.mask.shape).double())
    assert ready(OnlineDPO(), both, newer) is newer


def with_reference(both: Models, batch: Preferences) -> PreparedPreferences:
    return PreparedPreferences(batch, both.reference.logprobs(batch).detach())


def test_a_tie_counts_nowhere() -> None:
    """A pair without responses changes neither loss, gradient nor metric; a batch of ties is a loss of 0."""
    both, pairs = models(), tiny.random_pairs(4, seed=4)
    plain = tiny.preferences(pairs)
    silent = plain.mask.clone()
    silent[1] = False
    without = plain.select(torch.tensor([0, 2, 3]))
    found = []
    for batch in (dataclasses.replace(plain, mask=silent), without):
        both.policy.model.zero_grad()  # type: ignore[attr-defined]
        algorithm = OnlineDPO(nll_weight=0.1)
        numbers = gradient(algorithm, both, with_reference(both, batch), 2)
        found.append((numbers, [p.grad.clone() for p in both.policy.parameters().values()]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-9)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    nothing = dataclasses.replace(plain, mask=torch.zeros_like(silent), lengths=torch.zeros_like(plain.lengths))
    numbers = gradient(OnlineDPO(), both, with_reference(both, nothing))
    assert all(math.isfinite(value) for value in numbers.values())
    assert numbers["loss"] == 0.0


# A bandit of a few answers, in which every pair of draws is enumerated ----------------------------------------------


def all_pairs(words: int) -> Preferences:
    """Both orders of all pairs of different answers."""
    found = [pair for pair in product(range(words), repeat=2) if pair[0] != pair[1]]
    tokens = torch.tensor([[[0, one], [0, other]] for one, other in found])
    mask = torch.tensor([False, True]).expand(tokens.shape)
    return Preferences(tokens, mask, torch.full((len(found), 2), 2), torch.arange(len(found)))


class Answers(tabular.TablePolicy):
    """A table for pairs of answers of one word."""

    def logprobs(self, batch: Preferences) -> Tensor:
        return super().logprobs(SimpleNamespace(tokens=batch.tokens.flatten(0, 1))).view(batch.mask.shape)


def expected_slope(algorithm: OnlineDPO, policy: Answers, reference: Answers, wins: Tensor) -> Tensor:
    """The gradient of the loss, expected over two draws of the policy, different ones, and over who wins."""
    both, batch = Models(policy=policy, reference=reference), all_pairs(len(wins))
    with torch.no_grad():
        p = policy.logits[0].softmax(0)
    first, second = batch.tokens[:, 0, 1], batch.tokens[:, 1, 1]
    weight = 2 * p[first] * p[second] * wins[first, second]  # drawn in either order
    term = algorithm.loss(both, with_reference(both, batch)).terms["dpo"]
    (slope,) = torch.autograd.grad((weight * term.losses).sum(), policy.logits)
    return slope[0]


def bandit(words: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits, rewards = torch.randn(2, words, dtype=torch.float64, generator=generator)
    return logits[None], rewards


@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_the_first_gradient_by_hand(beta: float) -> None:
    """Two answers, the first always better: loss −log σ(0), so −β/2 of the difference of logits where the two draws
    differ, which they do with probability 2p(1 − p)."""
    logits, _ = bandit(2)
    p = logits[0].softmax(0)[0].item()
    wins = torch.tensor([[0.5, 1.0], [0.0, 0.5]], dtype=torch.float64)
    slope = expected_slope(OnlineDPO(beta=beta), Answers(logits), Answers(logits), wins)
    expected = 2 * p * (1 - p) * beta / 2
    torch.testing.assert_close(slope, torch.tensor([-expected, expected]).double())


@pytest.mark.parametrize("beta", [0.5, 1.5])
def test_a_judge_of_bradley_terry_leads_to_the_optimum_of_ppo(beta: float) -> None:
    """Where A beats B with probability σ(r_A − r_B), nothing is left to learn at π ∝ π_ref·exp(r/β), and only there:
    between draws of the policy itself as between those of anybody else."""
    logits, rewards = bandit(5)
    wins = torch.sigmoid(rewards[:, None] - rewards)
    reference, optimum = Answers(logits), Answers(logits + rewards / beta)
    algorithm = OnlineDPO(beta=beta)
    assert expected_slope(algorithm, optimum, reference, wins).abs().max() < 1e-12
    assert expected_slope(algorithm, Answers(logits), reference, wins).abs().max() > 1e-2
    assert expected_slope(OnlineDPO(beta=2 * beta), optimum, reference, wins).abs().max() > 1e-3


def test_a_policy_that_follows_the_gradient_comes_there() -> None:
    logits, rewards = bandit(4, seed=1)
    wins = torch.sigmoid(rewards[:, None] - rewards)
    policy, reference = Answers(logits), Answers(logits)
    for _ in range(400):
        slope = expected_slope(OnlineDPO(beta=1.0), policy, reference, wins)
        with torch.no_grad():
            policy.logits -= 4 * slope
    expected = (logits[0] + rewards).softmax(0)
    torch.testing.assert_close(policy.logits[0].detach().softmax(0), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"beta": 0.0}, {"label_smoothing": 0.5}, {"nll_weight": -0.1}, {"update_epochs": 0}],
)
def test_hyperparameters_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        OnlineDPO(**options)
