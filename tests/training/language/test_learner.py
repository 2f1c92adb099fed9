"""Gradient steps: learning rates by hand, clipping, minibatches, and what is not finite."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from crossings import crossings
from loop_pieces import BATCH, KNOBS, Own, online_models, optimizer_of, settings, source_of

from burnish.algorithms.dpo import DPO
from burnish.algorithms.interface import Algorithm
from burnish.algorithms.ppo import PPO
from burnish.algorithms.sft import SFT
from burnish.algorithms.terms import Loss, Term
from burnish.experience.interface import draws
from burnish.policies.interface import Models
from burnish.policies.language.reference import StartingAdapter
from burnish.run import RunFolder, UserError
from burnish.training.language.learner import GradientLearner, carried_numbers, minibatches, step
from burnish.training.resume import State, restore
from burnish.training.step import gradient, prepared


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder.open(tmp_path / "run") as folder:
        folder.claim({"algorithm": "sft"})
        yield folder


def learner_of(algorithm: Any, models: Models, run: RunFolder, **options: Any) -> GradientLearner:
    """Of a run of 20 steps, 4 per epoch, by plain descent."""
    return GradientLearner(algorithm, models, optimizer_of(models), settings(**options), 20, 4, run)


@pytest.mark.parametrize("limit", [0.0, 0.05, 1e6])
def test_the_gradient_is_clipped_to_its_norm(limit: float) -> None:
    """Plain descent: the weights move by the rate times the gradient, or times its direction of length `limit`."""
    oracle, models = (Models(policy=tiny.make_policy("gpt2")) for _ in range(2))
    gradient(SFT(), oracle, BATCH)
    expected = {name: p.grad for name, p in oracle.policy.parameters().items()}
    norm = math.sqrt(sum(g.square().sum().item() for g in expected.values() if g is not None))
    shrink = min(1.0, limit / norm) if limit else 1.0
    before = {name: p.detach().clone() for name, p in models.policy.parameters().items()}
    metrics = step(SFT(), models, BATCH, optimizer_of(models, 9.0), 0.5, limit)
    assert metrics is not None
    assert metrics["grad_norm"] == pytest.approx(norm)  # as it was before
    assert metrics["learning_rate"] == 0.5
    assert norm > 0.1
    for name, p in models.policy.parameters().items():
        torch.testing.assert_close(p.detach(), before[name] - 0.5 * shrink * expected[name], rtol=0, atol=1e-6)
        assert p.grad is None


class Cliff(Algorithm):
    """A loss that is finite where its gradient is not."""

    def loss(self, models: Models, batch: Any) -> Loss:
        logprobs = models.policy.logprobs(batch)
        return Loss({"cliff": Term((logprobs - logprobs.detach()).abs().sqrt(), batch.mask)})


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run_before_the_weights_move(fault: str, run: RunFolder) -> None:
    """And leaves a checkpoint of the last step that was sound. A token without a finite embedding is read in rows 0, 3
    and 5; in row 4 it is the last one, from which nothing is predicted."""
    policy = tiny.make_policy("untied_llama")
    if fault == "loss":
        with torch.no_grad():
            policy.model.model.embed_tokens.weight[int(BATCH.tokens[3, 2])] = math.inf
    before = {name: p.detach().clone() for name, p in policy.parameters().items()}
    models = Models(policy=policy)
    algorithm = SFT() if fault == "loss" else Cliff()
    rows = "0, 3, 5" if fault == "loss" else "0, 1, 2, 3, 4, 5"
    with pytest.raises(
        UserError, match=rf"^step 8: .*row\(s\) {rows} of rows\.jsonl; nothing was updated, and step 7 is saved"
    ):
        learner_of(algorithm, models, run).update(BATCH, State(step=7, num_tokens=5), first=True)
    for name, p in policy.parameters().items():
        assert torch.equal(p, before[name])
    again = Models(policy=tiny.make_policy("untied_llama", seed=1))
    assert restore(run, again, optimizer_of(again), pytest.fail) == State(step=7, num_tokens=5)
    assert all(torch.equal(p, before[name]) for name, p in again.policy.parameters().items())


def numbered(rows: int) -> Any:
    return tiny.demonstrations(tiny.random_rows(rows, seed=5))


@pytest.mark.parametrize(("rows", "sizes"), [(11, [4, 4, 3]), (8, [4, 4]), (4, [4]), (3, [3])])
def test_every_row_is_learned_from_once_an_epoch(rows: int, sizes: list[int]) -> None:
    parts = list(minibatches(numbered(rows), 4, passes=3, seed=0, number=0))
    assert [len(part) for part in parts] == sizes * 3
    epochs = [parts[k : k + len(sizes)] for k in range(0, len(parts), len(sizes))]
    orders = [[row for part in epoch for row in part.rows.tolist()] for epoch in epochs]
    assert [sorted(order) for order in orders] == [list(range(rows))] * 3
    if len(sizes) > 1:
        assert orders[0] != orders[1] != orders[2] != orders[0]


def test_minibatches_are_a_function_of_seed_and_turn(run: RunFolder) -> None:
    """And of nothing else: neither of the step nor of what was drawn before."""
    models = Models(policy=tiny.make_policy())

    def order(seed: int, turn: int, step: int = 0) -> list[int]:
        torch.rand(step + 1)
        learner = learner_of(PPO(update_epochs=2), models, run, batch_size=4, seed=seed)
        parts = learner.minibatches(numbered(11), State(step, turn))
        return list(chain(*(part.rows.tolist() for part in parts)))

    assert order(0, 0, 7) == order(0, 0)
    orders = [order(seed, turn) for seed in (0, 1) for turn in (0, 1, 2)]
    assert all(orders[i] != orders[j] for i in range(6) for j in range(i))


def test_offline_a_batch_is_learned_from_once_and_whole(run: RunFolder) -> None:
    models = Models(policy=tiny.make_policy())
    (only,) = learner_of(SFT(), models, run, batch_size=6).minibatches(BATCH, State())
    assert only is BATCH


def test_past_stop_kl_an_update_is_none() -> None:
    """The policy sampled with other weights: half a squared log-ratio is far above 0.01, and nothing moves."""
    models = online_models()
    drawn = next(draws(KNOBS, source_of(models.having(policy=models.reference))))
    optimizer = optimizer_of(models)
    before = {name: p.detach().clone() for name, p in models.policy.parameters().items()}
    for stop, moved in ((0.01, False), (1e6, True), (None, True)):
        algorithm = PPO(stop_kl=stop)
        (batch,) = prepared(algorithm, models, [drawn.batch], {})
        metrics = step(algorithm, models, batch, optimizer, 0.01)
        assert (metrics is not None) == moved
        assert any(not torch.equal(p, before[name]) for name, p in models.policy.parameters().items()) == moved
        assert all(p.grad is None for p in models.policy.parameters().values())


def test_in_the_middle_of_a_rollout_nothing_is_saved(run: RunFolder) -> None:
    """From there no run could go on to the same bits: the rollout would be sampled again, by another policy."""
    with pytest.raises(UserError, match=r"nothing was updated: look at those rows") as caught:
        learner_of(Cliff(), online_models(), run).update(BATCH, State(step=7), first=False)
    assert "is saved" not in str(caught.value)
    assert not (run.path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("method", "reference", "times"),
    [("dpo", "table", 0), ("dpo", "model", 0), ("dpo", "adapter", 1), ("own", "table", 1), ("sft", "table", 0)],
)
def test_trained_weights_are_made_whole_only_where_a_preparation_calls_them(
    method: str, reference: str, times: int, run: RunFolder
) -> None:
    """A starting adapter computes with the weights of the policy; a table and a second model do not."""
    policy, seen = tiny.make_policy("gpt2"), list[str]()
    pairs = tiny.preferences(tiny.random_pairs(3))

    @contextmanager
    def gathered() -> Iterator[None]:
        seen.append("whole")
        yield

    policy.gathered = gathered  # type: ignore[method-assign]
    known = {"table": tiny.Table(torch.zeros(pairs.mask.shape)), "model": tiny.make_policy("gpt2", seed=1)}
    models = Models(policy=policy, reference=(known | {"adapter": StartingAdapter(policy)})[reference])
    algorithm: Any = {"dpo": DPO(), "own": Own(), "sft": SFT()}[method]
    learner_of(algorithm, models, run).prepare(pairs if method == "dpo" else BATCH, State())
    assert len(seen) == times
    assert models.borrowed == (reference == "adapter")


def test_a_row_has_the_means_since_the_row_before(run: RunFolder) -> None:
    """Losses 1, 2, 6 and 5: means of 3 and then of 5. A metric of one rollout in three is that rollout's; what says
    where the run is does not become a mean; and a single value keeps its bits and its sign."""
    learner, state = learner_of(SFT(), Models(policy=tiny.make_policy()), run), State()
    for number, loss in enumerate((1.0, 2.0, 6.0)):
        rollout = {"objective/kl": 0.25, "rollout": 7} if number == 1 else {}
        place = {"epoch": 0.5 * number, "learning_rate": 0.1 / (number + 1), "num_tokens": 10 * number}
        learner.note(place | {"loss": loss} | rollout, state)
    expected = {
        "epoch": 1.0,
        "learning_rate": 0.1 / 3,
        "num_tokens": 20,
        "loss": 3.0,
        "objective/kl": 0.25,
        "rollout": 7,
    }
    assert (found := learner.record(state)) == expected
    assert list(found) == list(expected)
    learner.note({"loss": 5.0, "margin": -0.0, "num_tokens": 30}, state)
    assert str(learner.record(state)) == "{'loss': 5.0, 'margin': -0.0, 'num_tokens': 30}"
    assert state.unlogged == {}


@pytest.mark.parametrize(("every", "saved"), [(0, False), (5, True)])
def test_the_end_is_saved_once_where_checkpoints_are_wanted(run: RunFolder, every: int, saved: bool) -> None:
    learner = learner_of(SFT(), Models(policy=tiny.make_policy("gpt2")), run, save_every=every)
    learner.save_end(State(step=7))
    path = run.path / "checkpoints" / "step-000007"
    assert path.exists() == saved
    if saved:
        shutil.rmtree(path)
        learner.save_end(State(step=7))
        assert not path.exists()


# What leaves the device ---------------------------------------------------------------------------------------------


class Reading(Own):
    """Stops by a metric, and does not say which of its two."""

    def loss(self, models: Models, batch: Any) -> Loss:
        found = super().loss(models, batch)
        return replace(found, metrics=found.metrics | {"own/surprise": found.terms["nll"].losses})


class Naming(Reading):
    """Says which."""

    @property
    def watches(self) -> tuple[str, ...]:
        return ("own/logprob",)


@pytest.mark.parametrize(
    ("algorithm", "watched"),
    [
        (SFT(), []),
        (PPO(), []),
        (PPO(stop_kl=1e6), ["policy/approxkl_avg"]),
        (Naming(), ["own/logprob"]),
        (Reading(), ["own/logprob", "own/surprise"]),
    ],
)
def test_metrics_leave_the_device_once_a_row(algorithm: Any, watched: list[str], run: RunFolder) -> None:
    """An update reads the denominators before it begins, and then at once the loss, the gradient's norm, and what the
    method may stop by; the row reads the sums of all other metrics at once."""
    models, state, seen = online_models(), State(), list[list[int]]()
    learner = learner_of(algorithm, models, run)
    batch = next(draws(KNOBS, source_of(models))).batch if isinstance(algorithm, PPO) else BATCH
    ready = learner.prepare(batch, state)
    for _ in range(3):
        with crossings() as found:
            metrics = learner.update(ready, state, first=True)
            assert metrics is not None
            learner.note(metrics, state)
        seen.append(found)
    assert seen == [[len(ready.counts()), 2 + len(watched)]] * 3
    with crossings() as found:
        record = learner.record(state)
    assert all(type(value) in (int, float) for value in record.values())
    others = record.keys() - {"loss", "grad_norm", "epoch", "learning_rate", "num_tokens", *watched}
    assert found == ([len(others)] if others else [])
    assert bool(others) == isinstance(algorithm, PPO | Naming)


@pytest.mark.parametrize("algorithm", [PPO(), PPO(stop_kl=1e6)])
def test_sums_on_the_device_are_those_of_numbers(algorithm: Any, run: RunFolder) -> None:
    """To the last bit, also where a checkpoint is written between two updates of a row."""
    rows = []
    for kind in ("numbers", "device", "saved"):
        models, state = online_models(), State()
        learner = learner_of(algorithm, models, run)
        ready = learner.prepare(next(draws(KNOBS, source_of(models))).batch, state)
        for number in range(5):
            if kind == "numbers":
                metrics = step(algorithm, models, ready, learner.optimizer, learner.rate(state.step))
                assert all(type(value) is float for value in metrics.values())
            else:
                metrics = learner.update(ready, state, first=True)
            learner.note(metrics, state)
            if kind == "saved" and number in (1, 3):
                state.step = number
                learner.save(state)
                state.unlogged = restore(run, online_models(), optimizer_of(models), pytest.fail).unlogged
            state.step = 0
        rows.append({name: x for name, x in learner.record(state).items() if name not in ("epoch", "num_tokens")})
    assert rows[0] == rows[1] == rows[2]
    assert list(rows[0]) == list(rows[1]) == list(rows[2])
    assert {"loss", "grad_norm", "policy/approxkl_avg", "learning_rate"} < rows[0].keys()


# A method that Burnish does not know --------------------------------------------------------------------------------


def mean_logprob(models: Models) -> float:
    with torch.no_grad():
        return models.policy.logprobs(BATCH)[BATCH.mask].mean().item()


def test_a_method_stops_a_rollout_by_its_own_metrics(run: RunFolder) -> None:
    """Plain descent raises the mean log-probability until it is above the ceiling; then nothing moves any more."""
    models, state = Models(policy=tiny.make_policy("gpt2")), State()
    ceiling = mean_logprob(models) + 0.3
    learner = learner_of(Own(ceiling=ceiling), models, run, schedule="constant", learning_rate=0.02)
    batch, seen = learner.prepare(BATCH, state), []
    for part in learner.minibatches(batch, state):
        seen.append(mean_logprob(models))
        before = {name: p.detach().clone() for name, p in models.policy.parameters().items()}
        metrics = learner.update(part, state, first=len(seen) == 1)
        assert (metrics is None) == (seen[-1] > ceiling)
        if metrics is None:
            assert all(torch.equal(p, before[name]) for name, p in models.policy.parameters().items())
            assert all(p.grad is None for p in models.policy.parameters().values())
            break
    assert 2 < len(seen) < 40
    assert max(seen[:-1]) <= ceiling < seen[-1]


def test_what_a_method_carries_reaches_its_next_batch(run: RunFolder) -> None:
    """Weights 1, 1 − m₁ and 1 − m₁ − m₂, with m the mean log-probability after a rollout; numbers that JSON can hold.

    The measure is the whole batch's however many micro-batches it is taken in.
    """
    for accumulate in (1, 4):
        models, state, weight = Models(policy=tiny.make_policy("gpt2")), State(), 1.0
        learner = learner_of(Own(rounds=2), models, run, accumulate=accumulate, schedule="constant")
        for _ in range(3):
            batch, losses = learner.prepare(BATCH, state), []
            for part in learner.minibatches(batch, state):
                expected = -weight * mean_logprob(models)
                metrics = learner.update(part, state, first=not losses)
                assert metrics is not None
                losses.append(metrics["loss"])
                assert losses[-1] == pytest.approx(expected, rel=1e-6)
            assert len(losses) == 2
            learner.conclude(batch, state)
            weight -= mean_logprob(models)
            assert state.algorithm == {"weight": pytest.approx(weight, rel=1e-9)}
            assert isinstance(state.algorithm["weight"], float)
        assert weight > 3


def test_carried_numbers_are_plain() -> None:
    found = carried_numbers({"one": torch.tensor(0.1, dtype=torch.float64), "two": 2})
    assert found == {"one": 0.1, "two": 2}
    assert [type(value) for value in found.values()] == [float, int]
