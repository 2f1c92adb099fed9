"""`fit`: a bandit by hand, a tiny model as the loop trains it, and what it says of each update."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import BATCH, KNOBS, Own, online_models, settings, source_of
from tiny_scorers import make_scorer
from torch import Tensor, nn

import burnish
from burnish.algorithms.interface import Algorithm
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reinforce import Reinforce
from burnish.algorithms.sft import SFT
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Drawn, Episodes
from burnish.experience.interface import draws
from burnish.functional import action_logprobs, entropy
from burnish.policies.interface import Models
from burnish.run import RunFolder, read_jsonl
from burnish.training.fit import fit
from burnish.training.language.learner import GradientLearner, minibatches, schedule
from burnish.training.loop import train_loop
from burnish.training.progress import Progress
from burnish.training.resume import State
from burnish.training.step import NonFiniteLossError

# A bandit by hand --------------------------------------------------------------------------------------------------


class Bandit:
    """A policy over two arms; the arm of a row is its second token."""

    def __init__(self) -> None:
        self.logits = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        logits = self.logits.expand(len(batch), 1, 2)
        both = torch.stack([action_logprobs(logits, batch.tokens[:, 1:]), entropy(logits)])
        first, second = nn.functional.pad(both, (1, 0)).unbind()
        return first, second

    def logprobs(self, batch: Any) -> Tensor:
        return self.logprobs_and_entropy(batch)[0]

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"logits": self.logits}

    def dropout(self, on: bool) -> None:
        """There is none."""


def pulled(*arms: int) -> Episodes:
    """Each arm's reward is 1 for the first and 0 for the second."""
    tokens = torch.tensor([[0, arm] for arm in arms])
    mask = torch.tensor([[False, True]]).expand(len(arms), 2)
    zero = torch.zeros(tokens.shape, dtype=torch.float64)
    return Episodes(
        tokens=tokens,
        mask=mask,
        lengths=mask.sum(1) + 1,
        rows=torch.arange(len(arms)),
        sampler_logprobs=zero,
        old_logprobs=zero,
        rewards=(1 - tokens) * mask.double(),
        discounts=zero,
        limit=torch.tensor(1),
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_a_bandit_by_hand() -> None:
    """Both arms pulled once: L = −½ log σ(d), d being the difference of the logits, so each logit moves by
    ½·(1 − σ(d)) times the rate, in opposite directions, and the gradient's norm is √2·½·(1 − σ(d))."""
    bandit, seen, d = Bandit(), [], 0.0
    rates = [0.5, 2.0, 1.0]
    models = Models(policy=bandit)
    optimizer = torch.optim.SGD([bandit.logits], lr=9.0)
    found = fit(
        models,
        Reinforce(),
        [pulled(0, 1)] * 3,
        learning_rate=lambda step: rates[step],
        optimizer=optimizer,
        on_step=lambda step, metrics: seen.append((step, metrics, bandit.logits.tolist())),
    )
    assert [step for step, *_ in seen] == [1, 2, 3]
    assert [metrics for _, metrics, _ in seen] == found
    for (_, _, logits), metrics, rate in zip(seen, found, rates, strict=True):
        slope = (1 - sigmoid(d)) / 2
        assert metrics["loss"] == pytest.approx(-math.log(sigmoid(d)) / 2)
        assert metrics["grad_norm"] == pytest.approx(math.sqrt(2) * slope)
        assert metrics["learning_rate"] == rate
        d += 2 * rate * slope
        assert logits == pytest.approx([d / 2, -d / 2])


def test_a_gradient_is_clipped() -> None:
    """Of length √2/4 at first: cut to 0.1, each logit moves by 0.1/√2; 0 clips nothing."""
    for limit, moved in ((0.1, 0.1 / math.sqrt(2)), (0.0, 0.25), (1.0, 0.25)):
        bandit = Bandit()
        optimizer = torch.optim.SGD([bandit.logits], lr=1.0)
        fit(
            Models(policy=bandit),
            Reinforce(),
            [pulled(0, 1)],
            learning_rate=1.0,
            optimizer=optimizer,
            max_grad_norm=limit,
        )
        assert bandit.logits.tolist() == pytest.approx([moved, -moved], rel=1e-5)


def test_the_default_is_adam_at_the_methods_own_rate() -> None:
    """Adam's first step is the rate, whatever the gradient's size; a weight without gradient does not decay."""
    bandit = Bandit()
    (metrics,) = burnish.fit(Models(policy=bandit), Reinforce(), [pulled(0, 0, 1)])
    assert metrics["learning_rate"] == Reinforce.learning_rate
    assert bandit.logits.tolist() == pytest.approx([Reinforce.learning_rate, -Reinforce.learning_rate], rel=1e-5)
    with torch.no_grad():
        bandit.logits.fill_(3.0)
    fit(Models(policy=bandit), Reinforce(), [pulled(1, 1)], learning_rate=0.5)
    assert bandit.logits.tolist() == [3.0, 3.0]


# A tiny model, as the loop trains it -------------------------------------------------------------------------------


def batches(count: int = 3) -> list[Any]:
    return [tiny.demonstrations(tiny.random_rows(7, seed=seed)) for seed in range(count)]


def double_models() -> Models:
    policy, reference = (tiny.make_policy("gpt2", seed=seed) for seed in (0, 1))
    return Models(policy=policy, reference=reference, critic=make_scorer("gpt2"))


CASES: dict[str, tuple[Any, Any]] = {
    "sft": (SFT(), lambda models: iter(batches())),
    "a method of one's own": (Own(rounds=3), lambda models: iter(batches())),
    "ppo": (
        PPO(update_epochs=2, kl_penalty=0.3, kl_penalty_target=1e-9),
        lambda models: islice(draws(KNOBS, source_of(models)), 3),
    ),
}


CHOSEN = settings(batch_size=3, accumulate=2, schedule="linear", max_grad_norm=0.5, seed=4)


def adam(models: Models) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for model in models.trained().values() for p in model.parameters().values()], lr=1.0)


def looped(algorithm: Any, models: Models, stream: Iterator[Any], folder: Path) -> list[dict[str, float]]:
    """The lines of the same run by the loop, without what only a run's folder has."""
    with RunFolder.open(folder) as run, Progress("test", 99, quiet=True) as progress:
        train_loop(
            models,
            (one if isinstance(one, Drawn) else Drawn(one) for one in stream),
            learner=GradientLearner(algorithm, models, adam(models), CHOSEN, 99, 99, run),
            settings=CHOSEN,
            steps=99,
            run=run,
            state=State(),
            evaluator=None,
            progress=progress,
        )
    lines = read_jsonl(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in ("step", "epoch", "num_tokens")} for line in lines]


@pytest.mark.parametrize("name", CASES)
def test_a_fit_is_the_loops_run(name: str, tmp_path: Path) -> None:
    """Bit for bit, with minibatches, micro-batches, passes, what the method carries, and what a rollout says."""
    algorithm, stream = CASES[name]
    models, others = (online_models() if name == "ppo" else double_models() for _ in range(2))
    lines = looped(algorithm, others, stream(others), tmp_path / "run")
    optimizer = adam(models)
    found = fit(
        models,
        algorithm,
        stream(models),
        learning_rate=schedule(optimizer, CHOSEN, 99),
        optimizer=optimizer,
        batch_size=3,
        accumulate=2,
        max_grad_norm=0.5,
        seed=4,
    )
    assert found == lines
    assert len(found) > 8
    for part, model in models.trained().items():
        theirs = others.trained()[part].parameters()
        assert all(torch.equal(p, theirs[parameter]) for parameter, p in model.parameters().items())
    if name == "ppo":
        assert [i for i, metrics in enumerate(found) if "objective/kl" in metrics] == [0, 6, 12]
        assert [metrics["rollout"] for metrics in found if "rollout" in metrics] == [1, 2, 3]


@pytest.mark.parametrize("algorithm", [SFT(), SFT(over="sequence"), Own(rounds=2)], ids=repr)
def test_micro_batches_give_the_same_weights(algorithm: Any) -> None:
    trained = []
    for accumulate in (1, 3, 7):
        models = Models(policy=tiny.make_policy("gpt2"))
        found = fit(models, algorithm, batches(), learning_rate=0.01, accumulate=accumulate)
        trained.append((found, models.policy.parameters()))
    (whole, weights), *others = trained
    before = tiny.make_policy("gpt2").parameters()
    assert any((p - before[name]).abs().max() > 1e-3 for name, p in weights.items())
    for found, parameters in others:
        for metrics, expected in zip(found, whole, strict=True):
            assert metrics == pytest.approx(expected, abs=1e-9)
        for name, p in parameters.items():
            torch.testing.assert_close(p, weights[name], rtol=0, atol=1e-9)


def test_an_early_stop_ends_a_batch_and_not_the_fit() -> None:
    """With a limit between what the second and third update of the free fit begin with, a rollout has two steps."""

    def run(stop_kl: float | None) -> list[dict[str, float]]:
        models = online_models()
        stream = islice(draws(KNOBS, source_of(models)), 2)
        algorithm = PPO(update_epochs=2, stop_kl=stop_kl)
        return fit(models, algorithm, stream, learning_rate=0.01, optimizer=adam(models), batch_size=4)

    free = run(None)
    kls = [metrics["policy/approxkl_avg"] for metrics in free[:4]]
    assert len(free) == 8
    assert kls[0] < kls[1] < kls[2]
    found = run((kls[1] + kls[2]) / 2)
    assert found[:2] == free[:2]
    assert [metrics.get("rollout") for metrics in found[:3]] == [1, None, 2]
    assert 3 <= len(found) < 8


@dataclass(frozen=True)
class UpTo(Algorithm):
    """Stops at one row."""

    row: int

    def loss(self, models: Models, batch: Any) -> Loss:
        nll = Term(-models.policy.logprobs(batch), batch.mask)
        return Loss({"nll": nll}, {"row": batch.rows.double()})

    def stops(self, metrics: dict[str, Any]) -> bool:
        return metrics["row"] == self.row


def test_what_comes_after_the_stop_is_left_out() -> None:
    """Row by row, in the order that seed and number of a batch give it, up to row 2."""
    batch, expected, counts = pulled(0, 1, 0, 1, 0), [], []
    for number in range(4):
        order = [part.rows.item() for part in minibatches(batch, 1, 1, 7, number)]
        expected += order[: order.index(2)]
        counts.append(order.index(2))
    assert len(set(counts)) > 2
    found = fit(Models(policy=Bandit()), UpTo(2), [batch] * 4, learning_rate=0.1, batch_size=1, seed=7)
    assert [metrics["row"] for metrics in found] == expected


def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were() -> None:
    bandit, sound = Bandit(), pulled(0, 1)
    broken = pulled(1, 1, 0)
    broken.rewards[2, 1] = math.nan
    with pytest.raises(NonFiniteLossError, match="the loss is nan") as caught:
        fit(Models(policy=bandit), Reinforce(), [sound, broken], learning_rate=0.5)
    assert caught.value.rows == [2]
    other = Bandit()
    fit(Models(policy=other), Reinforce(), [sound], learning_rate=0.5)
    assert torch.equal(bandit.logits, other.logits)


def test_dropout_is_on_in_updates_alone() -> None:
    """Where a method allows it; neither before nor after."""
    for algorithm, expected in ((SFT(), {True}), (Own(rounds=1), {False})):
        policy, seen = tiny.make_policy("gpt2"), set()
        policy.model.base_model.register_forward_hook(
            lambda module, *_, seen=seen: seen.add(module.training) if torch.is_grad_enabled() else None
        )
        policy.dropout(True)
        fit(Models(policy=policy), algorithm, [BATCH], learning_rate=0.1)
        assert seen == expected
        assert not policy.model.training
