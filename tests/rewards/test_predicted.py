"""Predictors of rewards against torch's own layers and optimizer, and against the same run alone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from burnish.rewards.predicted import PredictedReward, Predictor

F64 = torch.float64
KNOBS = Predictor(members=2, hidden=(4, 3), learning_rate=0.01, weight_decay=0.1, deviation=1.0)
F = 3


def predictor(seeds: list[int], knobs: Predictor = KNOBS) -> PredictedReward:
    return PredictedReward(F, seeds, knobs, dtype=F64)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def torch_network(theta: Tensor) -> nn.Sequential:
    """The network of one member, with its weights taken from theta in the order of its layers."""
    layers = [nn.Linear(F, 4), nn.Linear(4, 3), nn.Linear(3, 1)]
    at = 0
    for layer in layers:
        a, b = layer.in_features, layer.out_features
        layer.weight.data = theta[at : at + a * b].view(a, b).T.clone()
        layer.bias.data = theta[at + a * b : at + a * b + b].clone()
        at += a * b + b
    assert at == len(theta)
    return nn.Sequential(layers[0], nn.LeakyReLU(0.01), layers[1], nn.LeakyReLU(0.01), layers[2])


def test_every_member_is_a_separate_network() -> None:
    rewards, features = predictor([5, 6]), numbers(2, 7, F)
    made = rewards.each(features)
    for r in range(2):
        for m in range(2):
            theirs = torch_network(rewards.theta[r, m])(features[r]).squeeze(-1)
            torch.testing.assert_close(made[r, m], theirs)
    assert len({round(x, 6) for x in rewards.theta[:, :, 0].flatten().tolist()}) == 4  # All start differently.


def test_initial_weights_have_the_variance_of_their_layer() -> None:
    """2/inputs in a hidden layer, 1/inputs in the last; biases 0."""
    wide = PredictedReward(50, [1], Predictor(members=3, hidden=(400, 400)), dtype=F64)
    first, biases = wide.theta[0, :, :20_000], wide.theta[0, :, 20_000:20_400]
    last = wide.theta[0, :, -401:-1]
    assert first.var().item() == pytest.approx(2 / 50, rel=0.03)
    assert last.var().item() == pytest.approx(1 / 400, rel=0.15)
    assert not biases.any()


def test_inputs_are_standardised() -> None:
    """A constant feature is only centred."""
    rewards, features = predictor([5, 6]), numbers(2, 7, F)
    mean, variance = numbers(2, F, seed=1), torch.tensor([[4.0, 9.0, 0.0], [1.0, 0.25, 16.0]], dtype=F64)
    plain = predictor([5, 6])
    rewards.scale_inputs(mean, variance)
    spread = torch.tensor([[2.0, 3.0, 1.0], [1.0, 0.5, 4.0]], dtype=F64)
    torch.testing.assert_close(rewards.each(features), plain.each((features - mean[:, None]) / spread[:, None]))


def test_each_member_is_normalised_over_real_steps_and_all_are_averaged() -> None:
    rewards, features = predictor([5, 6]), numbers(2, 9, F)
    real = torch.arange(9) < torch.tensor([[9], [4]])
    raw = rewards.each(features).numpy()
    rewards.scale_outputs(torch.where(real[..., None], features, math.nan), real)
    for r, count in enumerate((9, 4)):
        scaled = [(raw[r, m] - raw[r, m, :count].mean()) / raw[r, m, :count].std() for m in range(2)]
        np.testing.assert_allclose(rewards(features)[r].numpy(), (scaled[0] + scaled[1]) / 2)


def test_the_deviation_of_predictions_is_an_option() -> None:
    features, real = numbers(1, 9, F), torch.ones(1, 9, dtype=torch.bool)
    one = PredictedReward(F, [5], Predictor(members=1, hidden=(4,), deviation=0.2), dtype=F64)
    one.scale_outputs(features, real)
    assert one(features).std(unbiased=False).item() == pytest.approx(0.2)
    assert one(features).mean().item() == pytest.approx(0, abs=1e-12)


def test_no_experience_and_equal_predictions_leave_finite_rewards() -> None:
    rewards, features = predictor([5, 6]), numbers(2, 4, F)
    before = rewards(features)
    rewards.scale_outputs(features, torch.zeros(2, 4, dtype=torch.bool))
    torch.testing.assert_close(rewards(features), before)
    rewards.scale_outputs(features[:, :1].expand(2, 4, F), torch.ones(2, 4, dtype=torch.bool))
    assert rewards(features).isfinite().all()


def test_the_score_of_a_segment_is_the_sum_over_its_steps() -> None:
    rewards, segments = predictor([5, 6]), numbers(2, 5, 4, F)
    worth = rewards.worth(segments)
    for n in range(5):
        torch.testing.assert_close(worth[:, :, n], rewards.each(segments[:, n]).sum(-1))


def test_descend_is_torchs_adamw_on_the_papers_likelihood() -> None:
    """Each member separately: −μ log(0.9 σ(z) + 0.05) − (1 − μ) log(0.9 σ(−z) + 0.05), averaged over its pairs."""
    rewards = predictor([5, 6])
    pairs, labels = numbers(3, 2, 2, 6, 2, 4, F), torch.tensor([1.0, 0.0, 0.5, 1.0, 1.0, 0.0], dtype=F64)
    theirs = [[torch_network(rewards.theta[r, m]) for m in range(2)] for r in range(2)]
    adams = [[torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1) for net in row] for row in theirs]
    for step in range(3):
        losses = rewards.descend(pairs[step], labels.expand(2, 2, 6), torch.tensor([True, True]))
        for r in range(2):
            found = []
            for m in range(2):
                z = theirs[r][m](pairs[step, r, m]).squeeze(-1).sum(-1)
                z = z[:, 0] - z[:, 1]
                wins, loses = torch.log(0.9 * z.sigmoid() + 0.05), torch.log(0.9 * (-z).sigmoid() + 0.05)
                loss = -(labels * wins + (1 - labels) * loses).mean()
                adams[r][m].zero_grad()
                loss.backward()
                adams[r][m].step()
                found.append(loss.item())
            assert losses[r].item() == pytest.approx(np.mean(found))
    features = numbers(2, 7, F, seed=3)
    for r in range(2):
        for m in range(2):
            torch.testing.assert_close(rewards.each(features)[r, m], theirs[r][m](features[r]).squeeze(-1).detach())


def test_a_run_that_is_not_going_does_not_change() -> None:
    rewards, alone = predictor([5, 6]), predictor([6])
    labels = torch.ones(2, 2, 6, dtype=F64)
    for step, going in enumerate(([True, True], [True, False], [True, True])):
        pairs = numbers(2, 2, 6, 2, 4, F, seed=step)
        rewards.descend(pairs, labels, torch.tensor(going))
        if going[1]:
            alone.descend(pairs[1:], labels[1:], torch.tensor([True]))
    torch.testing.assert_close(rewards.theta[1:], alone.theta)


def test_a_run_in_a_group_equals_the_run_alone() -> None:
    group, alone = predictor([5, 6, 7]), predictor([7])
    index = torch.tensor([0, 1, 2])
    for step in range(6):
        if step == 3:
            group.keep(torch.tensor([2, 0]))
            index = index[[2, 0]]
        pairs, labels = numbers(3, 2, 6, 2, 4, F, seed=step)[index], numbers(3, 2, 6, seed=-step + 99).sigmoid()[index]
        mean, variance = numbers(3, F, seed=step)[index], numbers(3, F, seed=step + 50).square()[index]
        features, real = numbers(3, 8, F, seed=step)[index], (numbers(3, 8, seed=step) > -1)[index]
        at = index.tolist().index(2)
        for one, chosen in ((group, slice(None)), (alone, slice(at, at + 1))):
            one.scale_inputs(mean[chosen], variance[chosen])
            one.descend(pairs[chosen], labels[chosen], torch.ones(len(pairs[chosen]), dtype=torch.bool))
            one.scale_outputs(features[chosen], real[chosen])
        torch.testing.assert_close(group(features)[at], alone(features[at : at + 1])[0], rtol=1e-9, atol=1e-9)


def test_a_reward_is_learned_from_comparisons() -> None:
    """Segments of 5 steps whose reward is x₀ − |x₁|: 300 labels give correlated predictions."""
    pairs, rng = numbers(300, 2, 5, F), np.random.default_rng(7)
    totals = (pairs[..., 0] - pairs[..., 1].abs()).sum(-1)
    labels = (totals[:, 0] > totals[:, 1]).double()
    rewards = predictor([1], Predictor(members=2, hidden=(16, 16), learning_rate=0.01))
    for _ in range(200):
        index = torch.from_numpy(rng.integers(300, size=(1, 2, 32)))
        rewards.descend(pairs[index], labels[index], torch.tensor([True]))
    unseen = numbers(1, 1000, F, seed=9)
    true = unseen[0, :, 0] - unseen[0, :, 1].abs()
    assert np.corrcoef(rewards(unseen)[0].numpy(), true.numpy())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"members": 0}, "members must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"error": 1.0}, "at 1 labels carry no information"),
        ({"error": -0.1}, r"error must lie in \[0, 1\)"),
        ({"deviation": 0.0}, "deviation must be above 0"),
    ],
)
def test_invalid_hyperparameters_are_an_error(knobs: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Predictor(**knobs)
