"""The reward model: by hand, by loops, and the same however a batch is cut, padded or ordered."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import tiny
import torch
from phases import ready
from tiny_scorers import make_scorer, naive_score
from torch import Tensor

from burnish.algorithms.reward_model import RewardModel
from burnish.batches import Preferences
from burnish.policies.interface import Models
from burnish.training.step import evaluate, gradient, objective

PAIRS = tiny.random_pairs(7, seed=6)
ALGORITHMS = [RewardModel(), RewardModel(centre_coefficient=0.3)]


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@dataclass(frozen=True)
class Linear:
    """A scorer w·φ, with φ of each text written down: `[B, 2, d]`."""

    weight: Tensor
    features: Tensor

    def scores(self, batch: Any) -> Tensor:
        return self.features @ self.weight

    def parameters(self) -> dict[str, Any]:
        return {"weight": self.weight}

    def dropout(self, on: bool) -> None:
        """There is none."""


def one_pair(
    chosen: list[float], rejected: list[float], algorithm: RewardModel, told: dict[str, Tensor] | None = None
) -> tuple[float, dict, list[float]]:
    """Loss, metrics and slope of a linear head w = (1, 2) on one pair with these features."""
    answered = ([0, 4, 5], [False, True, True])
    batch = replace(tiny.preferences([[answered, answered]]), **(told or {}))
    scorer = Linear(torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([[chosen, rejected]]))
    models = Models(scorer=scorer)
    loss = algorithm.loss(models, ready(algorithm, models, batch))
    value = objective(loss, batch.counts())
    value.backward()
    assert scorer.weight.grad is not None
    return value.item(), {k: v.tolist() for k, v in loss.metrics.items()}, scorer.weight.grad.tolist()


def test_the_loss_and_its_slope_by_hand() -> None:
    """φ(chosen) = (3, 0), φ(rejected) = (0, 1): scores 3 and 2, margin 1. The loss is −log σ(1), and its slope
    −(1 − σ(1))·(φ(chosen) − φ(rejected)) = −(1 − σ(1))·(3, −1)."""
    value, metrics, slope = one_pair([3.0, 0.0], [0.0, 1.0], RewardModel())
    assert value == pytest.approx(-math.log(sigma(1)))
    assert slope == pytest.approx([-3 * (1 - sigma(1)), 1 - sigma(1)])
    assert metrics == {"accuracy": [1.0], "margin": [1.0], "mean_reward": [2.5]}


def test_the_centre_by_hand() -> None:
    """Scores 3 and 2 add up to 5: 0.1·5² more, and 0.1·2·5·(φ(chosen) + φ(rejected)) = (3, 1) more of slope."""
    value, _, slope = one_pair([3.0, 0.0], [0.0, 1.0], RewardModel(centre_coefficient=0.1))
    assert value == pytest.approx(-math.log(sigma(1)) + 2.5)
    assert slope == pytest.approx([-3 * (1 - sigma(1)) + 3, 1 - sigma(1) + 1])


def test_margins_and_soft_labels_by_hand() -> None:
    """Margin 1 of scores, less ½ · 3: z = −½. A label of 0.8: both ways, weighted."""
    told = {"margins": torch.tensor([3.0])}
    assert one_pair([3.0, 0.0], [0.0, 1.0], RewardModel(margin_weight=0.5), told)[0] == pytest.approx(
        -math.log(sigma(-0.5))
    )
    assert one_pair([3.0, 0.0], [0.0, 1.0], RewardModel(), told)[0] == pytest.approx(-math.log(sigma(1)))
    labelled = one_pair([3.0, 0.0], [0.0, 1.0], RewardModel(), {"confidences": torch.tensor([0.8])})[0]
    assert labelled == pytest.approx(-0.8 * math.log(sigma(1)) - 0.2 * math.log(sigma(-1)))


def test_rankings_by_hand() -> None:
    """Scores 3, 1, 2 of three answers: z = 2, 1, −1, of which two are right, margins of 2/3 on average, a mean score
    of 2; sums 4, 5, 3, of squares 50/3. Scores 0, 4 and no third answer: z = −4, sum 4. Each prompt weighs the same."""
    answered, silent = ([0, 4, 5], [False, True, True]), ([0, 4], [False, False])
    batch = tiny.preferences([[answered] * 3, [answered, answered, silent]])
    scores = torch.tensor([[[3.0], [1.0], [2.0]], [[0.0], [4.0], [math.nan]]])
    models = Models(scorer=Linear(torch.tensor([1.0]), scores))
    found = evaluate(RewardModel(centre_coefficient=0.1), models, [batch])
    first = -(math.log(sigma(2)) + math.log(sigma(1)) + math.log(sigma(-1))) / 3
    assert found["loss/bradley_terry"] == pytest.approx((first - math.log(sigma(-4))) / 2)
    assert found["loss/centre"] == pytest.approx((50 / 3 + 16) / 2)
    assert found["loss"] == pytest.approx(found["loss/bradley_terry"] + 0.1 * found["loss/centre"])
    assert found["accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["margin"] == pytest.approx((2 / 3 - 4) / 2)
    assert found["mean_reward"] == pytest.approx(2)


def test_accuracy_counts_a_tie_as_half() -> None:
    for rejected, expected in ((0.0, 1.0), (1.0, 0.5), (2.0, 0.0)):
        _, metrics, _ = one_pair([1.0, 0.0], [rejected, 0.0], RewardModel())
        assert metrics["accuracy"] == [expected]


def run(algorithm: RewardModel, batch: Preferences, pieces: int = 1) -> tuple[dict[str, float], dict[str, Tensor]]:
    scorer = make_scorer("llama")
    models = Models(scorer=scorer)
    found = gradient(algorithm, models, ready(algorithm, models, batch), pieces)
    return found, {name: p.grad for name, p in scorer.parameters().items() if p.grad is not None}


def assert_same(one: tuple, other: tuple) -> None:
    """Up to what Llama loses by normalising in float32."""
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    assert one[1].keys() == other[1].keys()
    assert one[1]
    for name in one[1]:
        torch.testing.assert_close(one[1][name], other[1][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["plain", "centred"])
def test_loss_gradient_and_metrics_are_the_loops(algorithm: RewardModel) -> None:
    found, slopes = run(algorithm, tiny.preferences(PAIRS))
    model = make_scorer("llama").model
    total, right, margins, rewards = torch.zeros(()), 0, 0.0, 0.0
    for (chosen, _), (rejected, _) in PAIRS:
        one, other = naive_score(model, chosen), naive_score(model, rejected)
        total = total + torch.log(1 + torch.exp(other - one)) + algorithm.centre_coefficient * (one + other) ** 2
        right += one.item() > other.item()
        margins += one.item() - other.item()
        rewards += (one.item() + other.item()) / 2
    (total / 7).backward()
    assert 0 < right < 7
    assert found["loss"] == pytest.approx(total.item() / 7, abs=1e-6)
    assert found["accuracy"] == pytest.approx(right / 7)
    assert found["margin"] == pytest.approx(margins / 7, abs=1e-6)
    assert found["mean_reward"] == pytest.approx(rewards / 7, abs=1e-6)
    assert ("loss/centre" in found) == bool(algorithm.centre_coefficient)
    for name, p in model.named_parameters():
        torch.testing.assert_close(slopes[name], p.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["plain", "centred"])
@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_micro_batches_leave_everything_as_it_is(algorithm: RewardModel, pieces: int) -> None:
    batch = tiny.preferences(PAIRS)
    assert_same(run(algorithm, batch, pieces), run(algorithm, batch))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["plain", "centred"])
def test_padding_and_order_leave_everything_as_it_is(algorithm: RewardModel) -> None:
    batch = tiny.preferences(PAIRS)
    assert_same(run(algorithm, tiny.preferences(PAIRS, filler=7, extra=8), 3), run(algorithm, batch))
    assert_same(run(algorithm, batch.select(torch.tensor([5, 0, 6, 2, 4, 1, 3]))), run(algorithm, batch))


def test_evaluation_in_batches_is_that_of_the_whole() -> None:
    batch, models = tiny.preferences(PAIRS), Models(scorer=make_scorer())
    parts = [batch.select(slice(0, 2)), batch.select(slice(2, 7))]
    assert evaluate(RewardModel(), models, parts) == pytest.approx(evaluate(RewardModel(), models, [batch]), abs=1e-9)


def test_an_offset_changes_no_preference() -> None:
    """Bradley–Terry sees differences alone; only the mean reward moves."""
    scorer, batch = make_scorer(), tiny.preferences(PAIRS)
    before = evaluate(RewardModel(), Models(scorer=scorer), [batch])
    scorer.centre(4.0)
    after = evaluate(RewardModel(), Models(scorer=scorer), [batch])
    assert after["mean_reward"] == pytest.approx(before["mean_reward"] - 4)
    assert after["loss"] == pytest.approx(before["loss"], abs=1e-9)


def test_a_pair_of_which_one_has_no_answer_counts_nowhere() -> None:
    batch = tiny.preferences(PAIRS)
    silent = batch.mask.clone()
    silent[2, 1] = False
    kept = batch.select(torch.tensor([0, 1, 3, 4, 5, 6]))
    assert int(kept.counts()["row"]) == 6
    for algorithm in ALGORITHMS:
        assert_same(run(algorithm, replace(batch, mask=silent)), run(algorithm, kept))


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["centre_coefficient", "margin_weight"])
def test_a_coefficient_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        RewardModel(**{name: value})
