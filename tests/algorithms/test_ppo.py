"""PPO: by hand, by loops, and that nothing at a masked place, in a cut or in a draw of minibatches changes it."""

import dataclasses
import math
from typing import Any

import pytest
import tabular
import tiny
import torch
from phases import acted, ready, sampled
from torch import Tensor, nn

from burnish.algorithms.ppo import PPO, next_kl_penalty
from burnish.batches import Episodes
from burnish.functional import aggregate
from burnish.policies.interface import Models
from burnish.training.step import gradient, prepared

from .written import JUNK, MASK, OLD_LOGPROBS, OLD_VALUES, Written, after, before, f64, models_of, two_rows

# By hand ----------------------------------------------------------------------------------------------------------


def test_prepare_by_hand() -> None:
    """λ = ½. δ = 0 + 1 − 0.5 and 2 − 1, so A = 0.5 + ½·1 = 1 and 1; the other row's is 1 − 2 = −1. R = A + V.

    Their mean is ⅓ and their variance (4 + 4 + 16)/27 = 8/9: standardised 1/√2, 1/√2 and −√2.
    """
    for standardised, advantages in (
        (False, [[0, 1, 1], [0, -1, 0]]),
        (True, [[0, 0.5**0.5, 0.5**0.5], [0, -(2**0.5), 0]]),
    ):
        prepared = ready(PPO(lambda_=0.5, standardise_advantages=standardised), models_of(before()), two_rows())
        torch.testing.assert_close(prepared.advantages, f64(advantages), rtol=1e-7, atol=1e-12)
        torch.testing.assert_close(prepared.returns, f64([[0, 1.5, 2], [0, 1, 0]]))
        torch.testing.assert_close(prepared.old_values, OLD_VALUES[:, :-1])
        torch.testing.assert_close(prepared.batch.old_logprobs, OLD_LOGPROBS)
        assert not any(x.requires_grad for x in (prepared.advantages, prepared.returns, prepared.old_values))  # type: ignore[union-attr]


def test_a_truncated_row_goes_on_from_its_final_value() -> None:
    """r = 1, γ = ½, V = 2 and then 4: A = 1 + ½·4 − 2 = 1 and R = 3, however short the row is."""
    batch = sampled(
        tokens=torch.zeros(1, 2, dtype=torch.long),
        mask=torch.tensor([[True, False]]),
        lengths=torch.tensor([1]),
        rows=torch.arange(1),
        old_logprobs=torch.zeros(1, 2),
        rewards=f64([[1, 0]]),
        discounts=f64([[0.5, 0]]),
    )
    written = Written(torch.zeros(1, 2), torch.zeros(1, 2), f64([[2, 4, 0]]))
    prepared = ready(PPO(standardise_advantages=False), models_of(written), batch)
    assert (prepared.advantages.tolist(), prepared.returns.tolist()) == ([[1, 0]], [[3, 0]])  # type: ignore[union-attr]


def by_hand(**options: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The step on `two_rows` with the advantages 1, 1 and −1, after the policy and the critic have moved."""
    algorithm = PPO(**{"lambda_": 0.5, "standardise_advantages": False} | options)
    prepared = ready(algorithm, models_of(before()), two_rows())
    moved = after()
    return gradient(algorithm, models_of(moved), prepared), moved.gradients()


def test_loss_and_gradient_by_hand() -> None:
    """Policy: ρ = 1.6 with A = 1 counts as 1.2, and has no gradient; ρ = ½ with A = 1, and ρ = 1.5 with A = −1, are
    worse than what clipping makes of them, and stay: −1.2 − 0.5 + 1.5 = −0.2.

    Values: R = 1.5, 2, 1. The first moved by 0.4 and is held at 0.7, where ½·0.8² = 0.32 is worse, without gradient;
    the second moved by 0.1: ½·0.9² = 0.405; the third moved by 0.5 away from its return: ½·1.5² = 1.125. Sum: 1.85.
    """
    found, slopes = by_hand(value_weight=0.1)
    assert found["loss/policy_avg"] == pytest.approx(-0.2 / 3)
    assert found["loss/value_avg"] == pytest.approx(1.85 / 3)
    assert found["loss"] == pytest.approx((-0.2 + 0.185) / 3)
    torch.testing.assert_close(slopes["logprobs"], f64([[0, 0, -0.5], [0, 1.5, 0]]) / 3)
    torch.testing.assert_close(slopes["values"], f64([[0, 0, -0.9, 0], [0, 1.5, 0, 0]]) / 30)
    torch.testing.assert_close(slopes["entropy"], torch.zeros_like(slopes["entropy"]))
    assert "loss/entropy_avg" not in found


def test_metrics_by_hand() -> None:
    """Entropies 0.3, 0.6 and 0.9; one ratio of three and one value of three were clipped."""
    found, _ = by_hand()
    logs = [math.log(1.6), math.log(0.5), math.log(1.5)]
    expected = {
        "policy/approxkl_avg": sum(x * x / 2 for x in logs) / 3,
        "policy/clipfrac_avg": 1 / 3,
        "policy/entropy_avg": 0.6,
        "val/ratio": 1.2,
        "val/clipfrac_avg": 1 / 3,
    }
    assert {name: value for name, value in found.items() if not name.startswith("loss")} == pytest.approx(expected)


def test_without_value_clip_by_hand() -> None:
    """½·(0.36 + 0.81 + 2.25) = 1.71, and nothing to report of clipping."""
    found, slopes = by_hand(value_clip=None, value_weight=1.0)
    assert found["loss/value_avg"] == pytest.approx(1.71 / 3)
    torch.testing.assert_close(slopes["values"], f64([[0, -0.6, -0.9, 0], [0, 1.5, 0, 0]]) / 3)
    assert "val/clipfrac_avg" not in found


def test_entropy_bonus_by_hand() -> None:
    """Paid ½ for every nat: the mean entropy, 0.6, is taken from the loss, and each has the slope −½/3."""
    found, slopes = by_hand(entropy_weight=0.5)
    assert found["loss/entropy_avg"] == pytest.approx(-0.6)
    assert found["loss"] == pytest.approx((-0.2 + 0.185) / 3 - 0.3)
    torch.testing.assert_close(slopes["entropy"], -MASK.double() / 6)


def test_sequences_by_hand() -> None:
    """Rows of their means: ½·(½·(−1.2 − 0.5) + 1.5) = 0.325, and ½·(½·(0.32 + 0.405) + 1.125) = 0.74375."""
    found, _ = by_hand(over="sequence")
    assert found["loss/policy_avg"] == pytest.approx(0.325)
    assert found["loss/value_avg"] == pytest.approx(0.74375)


def test_weights_multiply_the_policys_term_alone() -> None:
    """Weights 2 and 3 in the first row, 4 in the second: −1.2·2 − 0.5·3 + 1.5·4 = 2.1, whatever masked places hold."""
    algorithm = PPO(lambda_=0.5, standardise_advantages=False)
    weights = f64([[math.nan, 2, 3], [1e30, 4, math.nan]])
    batch = ready(algorithm, models_of(before()), dataclasses.replace(two_rows(), weights=weights))
    moved = after()
    found = gradient(algorithm, models_of(moved), batch)
    assert found["loss/policy_avg"] == pytest.approx(2.1 / 3)
    assert found["loss/value_avg"] == pytest.approx(1.85 / 3)
    torch.testing.assert_close(moved.gradients()["logprobs"], f64([[0, 0, -1.5], [0, 6, 0]]) / 3)


def test_weights_of_one_are_no_weights_to_the_bit() -> None:
    found = []
    for weights in (None, torch.ones(2, 3, dtype=torch.float64)):
        batch = ready(PPO(), models_of(before()), dataclasses.replace(two_rows(), weights=weights))
        moved = after()
        found.append((gradient(PPO(), models_of(moved), batch), moved.gradients()))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(slope, found[1][1][name]) for name, slope in found[0][1].items())


def test_clip_is_a_knob_of_each_side() -> None:
    """With clip = 0.6 the ratio 1.6 is at the end of the range, and counts in full: −1.6 − 0.5 + 1.5."""
    found, _ = by_hand(clip=0.6 + 1e-9)
    assert found["loss/policy_avg"] == pytest.approx(-0.6 / 3)
    assert found["policy/clipfrac_avg"] == 0


# The price of KL ---------------------------------------------------------------------------------------------------


def test_kl_penalty_by_hand() -> None:
    """ρ − 1 − log ρ of the ratios 1.6, ½ and 1.5 is 0.6 − log 1.2 in all, and its slope in log ρ is ρ − 1."""
    found, slopes = by_hand(kl_penalty=0.5)
    plain, plain_slopes = by_hand()
    kl = (0.6 - math.log(1.2)) / 3
    assert found["loss/kl_avg"] == found["policy/kl_avg"] == pytest.approx(kl)
    assert found["loss"] == pytest.approx(plain["loss"] + 0.5 * kl)
    difference = slopes["logprobs"] - plain_slopes["logprobs"]
    torch.testing.assert_close(difference, 0.5 * f64([[0, 0.6, -0.5], [0, 0.5, 0]]) / 3)
    assert "loss/kl_avg" not in plain
    assert "policy/kl_avg" not in plain


def test_kl_penalty_over_sequences_by_hand() -> None:
    """½·(½·(0.1 − log 0.8) + 0.5 − log 1.5): the first row's ratios are 1.6 and ½, the second's 1.5."""
    found, _ = by_hand(kl_penalty=0.5, over="sequence")
    assert found["loss/kl_avg"] == pytest.approx((0.05 - math.log(0.8) / 2 + 0.5 - math.log(1.5)) / 2)


def test_the_price_that_was_carried_is_the_one_that_counts() -> None:
    """And it stays with every piece of the batch."""
    algorithm = PPO(lambda_=0.5, standardise_advantages=False, kl_penalty=0.5, kl_penalty_target=0.01)
    expected, _ = by_hand(kl_penalty=2.0)
    for pieces in (1, 2):
        prepared = ready(algorithm, models_of(before()), two_rows(), kl_penalty=2.0)
        assert prepared.kl_penalty == 2.0
        assert gradient(algorithm, models_of(after()), prepared, pieces) == pytest.approx(expected)


def test_an_infinite_clip_leaves_the_penalty_alone() -> None:
    """Equation 8: the plain surrogate, −1.6 − 0.5 + 1.5, and the price of KL."""
    found, slopes = by_hand(clip=math.inf, kl_penalty=0.5)
    assert found["loss/policy_avg"] == pytest.approx(-0.6 / 3)
    assert found["policy/clipfrac_avg"] == 0
    torch.testing.assert_close(slopes["logprobs"], f64([[0, -1.6 + 0.3, -0.5 - 0.25], [0, 1.5 + 0.25, 0]]) / 3)


def test_the_penalty_and_its_gradient_are_unbiased() -> None:
    """Over all actions, weighted by the policy that sampled: the KL written out, and its automatic derivative, for a
    policy that has moved far."""
    tokens = tabular.responses(4, 1)
    old, new = (torch.randn(1, 4, dtype=torch.float64, generator=seeded(i)) for i in range(2))
    policy = tabular.TablePolicy(new)
    ones = torch.ones(4, dtype=torch.float64)
    batch = tabular.shaped_episodes(tokens, ones, tabular.TablePolicy(old), tabular.TablePolicy(old), 0.0)
    models = Models(policy=policy, critic=tabular.TableCritic(torch.zeros(1, dtype=torch.float64), 4))
    algorithm = PPO(kl_penalty=1.0)
    losses = algorithm.loss(models, ready(algorithm, models, batch)).terms["kl_avg"].losses[:, 1]
    weights = old[0].exp() / old[0].exp().sum()
    found = (weights * losses).sum()
    leaf = new[0].clone().requires_grad_()
    expected = (weights * (weights.log() - (leaf.exp() / leaf.exp().sum()).log())).sum()
    assert expected.item() > 0.2
    torch.testing.assert_close(found, expected)
    slope = torch.autograd.grad(found, policy.logits)[0][0]
    torch.testing.assert_close(slope, torch.autograd.grad(expected, leaf)[0])


def test_each_run_has_its_own_price() -> None:
    """Two runs of `two_rows` whose policies moved alike, at prices 2 and 0.5."""
    runs = {
        name: torch.stack([getattr(two_rows(), name)] * 2)
        for name in ("mask", "lengths", "old_logprobs", "rewards", "discounts")
    }
    batch = acted(torch.zeros(2, 2, 4, 1), torch.zeros(2, 2, 3).long(), torch.arange(2), rows=torch.arange(2), **runs)
    old, new = (Written(*(torch.stack([p.data] * 2) for p in w.numbers.values())) for w in (before(), after()))
    algorithm = PPO(lambda_=0.5, standardise_advantages=False, kl_penalty=9.0)
    loss = algorithm.loss(models_of(new), ready(algorithm, models_of(old), batch, kl_penalty=f64([2.0, 0.5])))
    total = sum(term.weight * aggregate(term.losses, term.mask, term.over) for term in loss.terms.values())
    expected = [by_hand(kl_penalty=price)[0]["loss"] for price in (2.0, 0.5)]
    torch.testing.assert_close(total, f64(expected))


def test_the_next_price_by_hand() -> None:
    """Target 3: doubled above 4.5, halved below 2, and as it was between, at a NaN and at the ends of the range."""
    kl = f64([4.51, 4.5, 3, 2, 1.99, 0.0, math.nan, math.inf])
    assert next_kl_penalty(torch.full_like(kl, 3.0), kl, 3.0).tolist() == [6, 3, 3, 3, 1.5, 1.5, 3, 6]
    assert next_kl_penalty(torch.tensor(3.0), torch.tensor(1.0), 0.1).item() == 6
    assert next_kl_penalty(f64([1e6, 1e-6]), f64([1, 0]), 0.1).tolist() == [1e6, 1e-6]


def test_a_price_without_end_comes_back() -> None:
    """A thousand rollouts that never moved, and a thousand that moved too far, leave a price that twenty more mend."""
    for kl, back in ((0.0, 1.0), (1.0, 0.0)):
        price = torch.tensor(1.0)
        for _ in range(1000):
            price = next_kl_penalty(price, torch.tensor(kl), 0.1)
        assert 0 < price.item() < math.inf
        for _ in range(20):
            price = next_kl_penalty(price, torch.tensor(back), 0.1)
        assert price.item() == pytest.approx(1, rel=0.1)


# By loops ---------------------------------------------------------------------------------------------------------


class TokenCritic:
    """A value for each token that a state ends with, and one for where the episode stands in time."""

    def __init__(self, seed: int) -> None:
        self.table = nn.Parameter(torch.randn(tiny.VOCABULARY, dtype=torch.float64, generator=seeded(seed)))

    def values(self, batch: Any) -> Tensor:
        of_tokens = nn.functional.pad(self.table[batch.tokens], (1, 0))
        return of_tokens + 0.1 * torch.arange(of_tokens.shape[1])

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"table": self.table}

    def dropout(self, on: bool) -> None:
        """There is none."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def completions(count: int = 7, seed: int = 3) -> list[tiny.Row]:
    """Random texts, of which everything after a random place was chosen."""
    rows = tiny.random_rows(count, seed)
    starts = [1 + (i * 5) % (len(ids) - 1) for i, (ids, _) in enumerate(rows)]
    return [(ids, [t >= start for t in range(len(ids))]) for (ids, _), start in zip(rows, starts, strict=True)]


def episodes(rows: list[tiny.Row], extra: int = 0, junk: float = 0.0) -> Episodes:
    """Rows with random rewards, sampled by a policy of another seed; every other row was truncated."""
    texts = tiny.demonstrations(rows, extra=extra)
    mask = texts.mask
    with torch.no_grad():
        old_logprobs = tiny.make_policy("gpt2", seed=1).logprobs(texts)
    rewards = torch.stack([torch.randn(64, dtype=torch.float64, generator=seeded(i)) for i in range(len(rows))])
    last = torch.tensor([[t == len(ids) - 1 for t in range(mask.shape[1])] for ids, _ in rows])
    terminated = last & (texts.rows % 2 == 0)[:, None]
    junky = [
        torch.where(mask, x, junk) for x in (old_logprobs, rewards[:, : mask.shape[1]], 0.9 * (~terminated).double())
    ]
    return sampled(texts.tokens, mask, texts.lengths, texts.rows, *junky)


def real_models() -> Models:
    """A policy near, and not at, the one that sampled; and a critic that has moved since."""
    policy, other = tiny.make_policy("gpt2"), tiny.make_policy("gpt2", seed=1)
    with torch.no_grad():
        for p, q in zip(policy.parameters().values(), other.parameters().values(), strict=True):
            p.mul_(0.15).add_(0.85 * q)
    return Models(policy=policy, critic=TokenCritic(0))


def collect(models: Models) -> dict[str, Tensor]:
    out = {}
    for model in models.trained().values():
        for name, p in model.parameters().items():
            out[name] = torch.zeros_like(p) if p.grad is None else p.grad.clone()
            p.grad = None
    return out


def close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, x in found.items():
        torch.testing.assert_close(x, expected[name], rtol=1e-7, atol=1e-10)


def entropies(model: Any, ids: list[int]) -> list[Tensor]:
    """The entropy of what follows each token, by its definition."""
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return list(-(p * p.log()).sum(-1))


def oracle(rows: list[tiny.Row], batch: Episodes, models: Models, before: Models, algorithm: PPO) -> Tensor:
    """The loss, a step at a time, from each definition."""
    steps = []
    for b, (ids, mask) in enumerate(rows):
        real = [t for t in range(len(ids)) if mask[t]]
        old_values = [v.item() for v in before.critic.values(batch)[b]]  # type: ignore[union-attr]
        values = models.critic.values(batch)[b]  # type: ignore[union-attr]
        logprobs = tiny.naive_logprobs(models.policy.model, ids, mask)  # type: ignore[attr-defined]
        entropy = entropies(models.policy.model, ids)  # type: ignore[attr-defined]
        for t in real:
            advantage, weight = 0.0, 1.0
            for u in range(t, len(ids)):
                discount = batch.discounts[b, u].item()
                advantage += weight * (batch.rewards[b, u].item() + discount * old_values[u + 1] - old_values[u])
                weight *= discount * algorithm.lambda_
            ratio = (logprobs[t] - batch.old_logprobs[b, t]).exp()
            steps.append((b, advantage, ratio, values[t], old_values[t], advantage + old_values[t], entropy[t - 1]))
    mean = sum(step[1] for step in steps) / len(steps)
    deviation = math.sqrt(sum((step[1] - mean) ** 2 for step in steps) / len(steps) + 1e-8)
    losses: dict[int, list[Tensor]] = {}
    for b, advantage, ratio, value, old_value, target, entropy_ in steps:
        advantage = (advantage - mean) / deviation
        low, high = 1 - algorithm.clip, 1 + algorithm.clip
        policy = -torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)
        held = value.clamp(old_value - algorithm.value_clip, old_value + algorithm.value_clip)
        critic = torch.maximum((value - target) ** 2, (held - target) ** 2) / 2
        total = policy + algorithm.value_weight * critic - algorithm.entropy_weight * entropy_
        losses.setdefault(b, []).append(total)
    if algorithm.over == "sequence":
        return sum(sum(row) / len(row) for row in losses.values()) / len(losses)  # type: ignore[return-value]
    return sum(sum(row) for row in losses.values()) / len(steps)  # type: ignore[return-value]


@pytest.mark.parametrize("over", ["token", "sequence"])
def test_loss_and_gradient_are_the_loops(over: Any) -> None:
    rows = completions()
    batch, models, critic_before = episodes(rows), real_models(), TokenCritic(0)
    algorithm = PPO(value_weight=0.7, entropy_weight=0.2, lambda_=0.8, over=over)
    prepared = ready(algorithm, models, batch)
    with torch.no_grad():
        models.critic.table.add_(0.3 * torch.randn(tiny.VOCABULARY, generator=seeded(9)))  # type: ignore[union-attr]
    found = gradient(algorithm, models, prepared)
    ours = collect(models)
    assert 0.1 < found["policy/clipfrac_avg"] < 0.9  # Else the example would not try the clipping.
    assert 0.1 < found["val/clipfrac_avg"] < 0.9
    expected = oracle(rows, batch, models, Models(policy=models.policy, critic=critic_before), algorithm)
    expected.backward()
    assert found["loss"] == pytest.approx(expected.item(), abs=1e-9)
    close(ours, collect(models))


# What must not matter ---------------------------------------------------------------------------------------------

CHOICES = [
    {},
    {"over": "sequence", "entropy_weight": 0.1, "kl_penalty": 0.3},
    {"value_clip": None, "standardise_advantages": False},
]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("pieces", [2, 7])
def test_cut_into_pieces(choice: dict, pieces: int) -> None:
    algorithm, models = PPO(**choice), real_models()
    prepared = ready(algorithm, models, episodes(completions()))
    whole, slopes = gradient(algorithm, models, prepared), collect(models)
    parts, part_slopes = gradient(algorithm, models, prepared, pieces), collect(models)
    assert parts == pytest.approx(whole)
    close(part_slopes, slopes)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("junk", JUNK)
def test_padding_and_junk_at_masked_places(choice: dict, junk: float) -> None:
    found = []
    for options in ({}, {"extra": 3, "junk": junk}):
        algorithm, models = PPO(**choice), real_models()
        prepared = ready(algorithm, models, episodes(completions(), **options))
        fields = (prepared.batch.old_logprobs, prepared.old_values, prepared.advantages, prepared.returns)
        assert all((x[~prepared.mask] == 0).all() for x in fields)  # type: ignore[index]
        found.append((gradient(algorithm, models, prepared), collect(models)))
    assert found[1][0] == pytest.approx(found[0][0])
    close(found[1][1], found[0][1])


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_that_policy_and_critic_give_at_masked_places(choice: dict, junk: float) -> None:
    algorithm = PPO(**choice)
    found = []
    for fill in (0.0, junk):
        old, new = before(), after()
        for written in (old, new):
            for name, p in written.numbers.items():
                mask = MASK if name != "values" else nn.functional.pad(MASK, (0, 1))
                p.data = torch.where(mask, p.data, fill)
        prepared = ready(algorithm, models_of(old), two_rows())
        found.append((gradient(algorithm, models_of(new), prepared), new.gradients()))
    assert found[1][0] == found[0][0]
    for name, slope in found[0][1].items():
        assert torch.equal(found[1][1][name], slope)


def test_a_minibatch_has_the_advantages_of_its_rollout() -> None:
    """Standardised once over the rollout, and not again: minibatches' losses, weighted by their steps, are its loss."""
    algorithm, models = PPO(), real_models()
    prepared = ready(algorithm, models, episodes(completions()))
    whole = gradient(algorithm, models, prepared)["loss"]
    total = 0.0
    for index in (torch.tensor([4, 0]), torch.tensor([6]), torch.tensor([1, 5, 3, 2])):
        part = prepared.select(index)
        assert torch.equal(part.advantages, prepared.advantages[index])  # type: ignore[arg-type, index]
        total += gradient(algorithm, models, part)["loss"] * part.mask.sum().item()
    assert total / prepared.mask.sum().item() == pytest.approx(whole)


def test_the_first_ratio_is_1() -> None:
    """In float32, with other neighbours than the rows were sampled with."""
    policy = tiny.make_policy("gpt2", double=False)
    batch = episodes(completions())
    with torch.no_grad():
        batch = dataclasses.replace(batch, old_logprobs=policy.logprobs(batch))
    algorithm, models = PPO(), Models(policy=policy, critic=TokenCritic(0))
    prepared = ready(algorithm, models, batch)
    found = gradient(algorithm, models, prepared.select(torch.tensor([5, 2, 0])))
    assert found["val/ratio"] == pytest.approx(1, abs=1e-5)
    assert found["policy/approxkl_avg"] == pytest.approx(0, abs=1e-10)
    assert found["policy/clipfrac_avg"] == found["val/clipfrac_avg"] == 0


def test_a_row_in_which_nothing_was_chosen_counts_nowhere() -> None:
    rows = completions(3)
    silent = [*rows, (rows[0][0], [False] * len(rows[0][0]))]
    found = []
    for texts in (rows, silent):
        algorithm, models = PPO(over="sequence"), real_models()
        prepared = ready(algorithm, models, episodes(texts))
        assert int(prepared.counts()["sequence"]) == 3
        found.append(gradient(algorithm, models, prepared))
    assert found[1] == pytest.approx(found[0])


# Knobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0.0},
        {"clip": math.nan},
        {"value_clip": 0.0},
        {"value_weight": -0.1},
        {"entropy_weight": -0.1},
        {"lambda_": 1.1},
        {"lambda_": math.nan},
        {"update_epochs": 0},
        {"stop_kl": 0.0},
        {"kl_penalty": 0.0},
        {"kl_penalty": math.inf},
        {"kl_penalty_target": 0.0, "kl_penalty": 1.0},
        {"kl_penalty_target": 0.01},
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))} "):
        PPO(**options)


# Two phases and two hooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_parts_are_prepared_with_the_moments_of_all(cut: int) -> None:
    batch, models = episodes(completions()), real_models()
    whole = ready(PPO(), models, batch)
    parts = prepared(PPO(), models, [batch.select(slice(0, cut)), batch.select(slice(cut, None))], {})
    torch.testing.assert_close(torch.cat([part.advantages for part in parts]), whole.advantages, rtol=1e-9, atol=1e-9)
    assert torch.equal(torch.cat([part.returns for part in parts]), whole.returns)


def test_without_standardisation_nothing_has_to_be_known() -> None:
    assert PPO(standardise_advantages=False).statistics(real_models(), episodes(completions())) == {}


def test_a_rollout_stops_where_kl_is_above_its_limit() -> None:
    assert PPO().stops({"policy/approxkl_avg": 1e9}) is False
    assert not PPO(stop_kl=0.1).stops({"policy/approxkl_avg": 0.1})
    assert PPO(stop_kl=0.1).stops({"policy/approxkl_avg": 0.11})
    each = PPO(stop_kl=0.1).stops({"policy/approxkl_avg": f64([0.05, 0.2])})
    assert each.tolist() == [False, True]  # type: ignore[union-attr]


def test_what_a_rollout_leaves_is_the_next_price() -> None:
    """Target 0.1: from 0.5 doubled by a KL of 0.2, then, carried on, once more; one price per run where there are
    several; and nothing where the price does not adapt."""
    algorithm = PPO(kl_penalty=0.5, kl_penalty_target=0.1)
    once = algorithm.conclude(lambda: {"policy/kl_avg": f64(0.2)}, {})
    assert once == {"kl_penalty": 1.0}
    assert algorithm.conclude(lambda: {"policy/kl_avg": f64(0.2)}, once) == {"kl_penalty": 2.0}
    runs = algorithm.conclude(lambda: {"policy/kl_avg": f64([0.2, 0.1, 0.01])}, {})
    assert runs["kl_penalty"].tolist() == [1.0, 0.5, 0.25]
    assert PPO(kl_penalty=0.5).conclude(dict, {"x": 1}) == {"x": 1}


# Texts beside the reward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_texts_beside_the_completions_by_hand(weight: float) -> None:
    """Log-probabilities −1, −2 and −3 of three tokens in two texts: a likelihood of −2 per token."""
    texts = tiny.demonstrations([([0, 1, 1], [False, True, True]), ([0, 1, 1], [False, False, True])])
    batch = dataclasses.replace(two_rows(), ptx=texts, ptx_weight=torch.tensor(weight))
    values = torch.tensor([[0, -1.0, -2.0], [0, 0, -3.0]], dtype=torch.float64).requires_grad_()
    algorithm = PPO(lambda_=0.5, standardise_advantages=False)
    plain = gradient(algorithm, models_of(after()), ready(algorithm, models_of(before()), two_rows()))
    moved = after()
    moved.logprobs = lambda batch: values[batch.rows]  # type: ignore[method-assign]
    found = gradient(algorithm, models_of(moved), ready(algorithm, models_of(before()), batch))
    assert found["ptx/nll"] == 2
    assert found["loss"] == pytest.approx(plain["loss"] + 2 * weight)
    if weight:
        assert values.grad is not None
        torch.testing.assert_close(values.grad, -weight * texts.mask.double() / 3)
    else:
        assert found["loss"] == plain["loss"]
        assert values.grad is None
