"""Gradient steps: learning rates by hand, clipping, minibatches, and what is not finite."""

import math
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import BATCH, KNOBS, REWARD, online_models, optimizer_of, settings

from burnish.algorithms.ppo import PPO
from burnish.algorithms.sft import SFT
from burnish.algorithms.terms import Loss, Term
from burnish.data.prompts import read_prompts
from burnish.data.sources import load
from burnish.experience.language.completions import rollouts
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.training.language.learner import minibatches, schedule, update
from burnish.training.resume import State, restore
from burnish.training.step import gradient


def rates(steps: int, **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = schedule(optimizer, settings(learning_rate=2.0, **options), steps)
    return [rate(step) for step in range(steps)]


def test_learning_rates_by_hand() -> None:
    """A peak of 2. The warm-up of n steps goes 1/n … n/n; then from 1 down, never spending a step on rate 0."""
    assert rates(4, schedule="constant") == [2.0] * 4
    assert rates(4, schedule="linear") == pytest.approx([2.0, 1.5, 1.0, 0.5])
    assert rates(4, schedule="cosine") == pytest.approx([1 + math.cos(math.pi * k / 4) for k in range(4)])
    assert rates(5, schedule="constant", warmup=2.0) == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0])
    assert rates(6, schedule="linear", warmup=2.0) == pytest.approx([1.0, 2.0, 2.0, 1.5, 1.0, 0.5])
    falling = [1 + math.cos(math.pi * k / 4) for k in range(4)]
    assert rates(6, schedule="cosine", warmup=2.0) == pytest.approx([1.0, 2.0, *falling])


@pytest.mark.parametrize(
    ("warmup", "steps", "length"),
    [(0.25, 10, 3), (0.3, 10, 3), (0.07, 100, 7), (1.0, 10, 1), (2.5, 10, 3), (0.01, 10, 1)],
)
def test_a_warm_up_is_a_share_below_1_and_rises_evenly(warmup: float, steps: int, length: int) -> None:
    found = rates(steps, schedule="constant", warmup=warmup)
    assert found[:length] == pytest.approx([2 * (k + 1) / length for k in range(length)])
    assert found[length:] == [2.0] * (steps - length)


@pytest.mark.parametrize("limit", [0.0, 0.05, 1e6])
def test_the_gradient_is_clipped_to_its_norm(limit: float, tmp_path: Path) -> None:
    """Plain descent: the weights move by the rate times the gradient, or times its direction of length `limit`."""
    oracle, models = Models(tiny.make_policy("gpt2")), Models(tiny.make_policy("gpt2"))
    gradient(SFT(), oracle, BATCH)
    expected = {name: p.grad for name, p in oracle.policy.parameters().items()}
    norm = math.sqrt(sum(g.square().sum().item() for g in expected.values() if g is not None))
    shrink = min(1.0, limit / norm) if limit else 1.0
    before = {name: p.detach().clone() for name, p in models.policy.parameters().items()}
    with RunFolder.open(tmp_path / "run") as run:
        options = settings(max_grad_norm=limit)
        metrics = update(SFT(), models, BATCH, optimizer_of(models, 9.0), options, 0.5, run, State())
    assert metrics["grad_norm"] == pytest.approx(norm)  # as it was before
    assert metrics["learning_rate"] == 0.5
    assert norm > 0.1
    for name, p in models.policy.parameters().items():
        torch.testing.assert_close(p.detach(), before[name] - 0.5 * shrink * expected[name], rtol=0, atol=1e-6)
        assert p.grad is None


class Cliff:
    """A loss that is finite where its gradient is not."""

    def prepare(self, models: Models, batch: Any) -> Any:
        return batch

    def loss(self, models: Models, batch: Any) -> Loss:
        logprobs = models.policy.logprobs(batch)
        return Loss({"cliff": Term((logprobs - logprobs.detach()).abs().sqrt(), batch.mask)})


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run_before_the_weights_move(fault: str, tmp_path: Path) -> None:
    """And leaves a checkpoint of the last step that was sound."""
    policy = tiny.make_policy("untied_llama")
    if fault == "loss":
        with torch.no_grad():
            policy.model.model.embed_tokens.weight[int(BATCH.tokens[2, 1])] = math.inf
    before = {name: p.detach().clone() for name, p in policy.parameters().items()}
    models = Models(policy)
    algorithm = SFT() if fault == "loss" else Cliff()
    with RunFolder.open(tmp_path / "run") as run:
        run.claim({"algorithm": "sft"})
        with pytest.raises(
            UserError, match=r"^step 8: .*row\(s\) .*2.* of rows\.jsonl; nothing was updated, and step 7 is"
        ):
            update(algorithm, models, BATCH, optimizer_of(models), settings(), 0.1, run, State(step=7, num_tokens=5))
        for name, p in policy.parameters().items():
            assert torch.equal(p, before[name])
        again = Models(tiny.make_policy("untied_llama", seed=1))
        assert restore(run, again, optimizer_of(again), pytest.fail) == State(step=7, num_tokens=5)
        assert all(torch.equal(p, before[name]) for name, p in again.policy.parameters().items())


def numbered(rows: int) -> Any:
    return tiny.demonstrations(tiny.random_rows(rows, seed=5))


@pytest.mark.parametrize(("rows", "sizes"), [(11, [4, 4, 3]), (8, [4, 4]), (4, [4]), (3, [3])])
def test_every_row_is_learned_from_once_an_epoch(rows: int, sizes: list[int]) -> None:
    parts = list(minibatches(PPO(update_epochs=3), numbered(rows), settings(batch_size=4), State()))
    assert [len(part) for part in parts] == sizes * 3
    epochs = [parts[k : k + len(sizes)] for k in range(0, len(parts), len(sizes))]
    orders = [[row for part in epoch for row in part.rows.tolist()] for epoch in epochs]
    assert [sorted(order) for order in orders] == [list(range(rows))] * 3
    if len(sizes) > 1:
        assert orders[0] != orders[1] != orders[2] != orders[0]


def test_minibatches_are_a_function_of_seed_and_turn() -> None:
    """And of nothing else: neither of the step nor of what was drawn before."""

    def order(seed: int, turn: int, step: int = 0) -> list[int]:
        torch.rand(step + 1)
        parts = minibatches(PPO(update_epochs=2), numbered(11), settings(batch_size=4, seed=seed), State(step, turn))
        return list(chain(*(part.rows.tolist() for part in parts)))

    assert order(0, 0, 7) == order(0, 0)
    orders = [order(seed, turn) for seed in (0, 1) for turn in (0, 1, 2)]
    assert all(orders[i] != orders[j] for i in range(6) for j in range(i))


def test_offline_a_batch_is_learned_from_once_and_whole() -> None:
    (only,) = minibatches(SFT(), BATCH, settings(batch_size=6), State())
    assert only is BATCH


def test_past_stop_kl_an_update_is_none(tmp_path: Path) -> None:
    """The policy sampled with other weights: half a squared log-ratio is far above 0.01, and nothing moves."""
    models = online_models()
    prompts = read_prompts(load(tiny.prompt_rows(20)), models.policy.tokenizer, 20, "rows")  # type: ignore[attr-defined]
    drawn = next(rollouts(Models(models.reference, models.reference), KNOBS, prompts, REWARD, 0))  # type: ignore[arg-type]
    optimizer = optimizer_of(models)
    before = {name: p.detach().clone() for name, p in models.policy.parameters().items()}
    for stop, moved in ((0.01, False), (1e6, True), (None, True)):
        algorithm = PPO(stop_kl=stop)
        batch = algorithm.prepare(models, drawn.batch)
        with RunFolder.open(tmp_path / str(stop)) as run:
            metrics = update(algorithm, models, batch, optimizer, settings(), 0.01, run, State())
        assert (metrics is not None) == moved
        assert any(not torch.equal(p, before[name]) for name, p in models.policy.parameters().items()) == moved
        assert all(p.grad is None for p in models.policy.parameters().values())


def test_in_the_middle_of_a_rollout_nothing_is_saved(tmp_path: Path) -> None:
    """From there no run could go on to the same bits: the rollout would be sampled again, by another policy."""
    models = online_models()
    optimizer = optimizer_of(models)
    with RunFolder.open(tmp_path / "run") as run:
        run.claim({"algorithm": "sft"})
        with pytest.raises(UserError, match=r"nothing was updated: look at those rows") as caught:
            update(Cliff(), models, BATCH, optimizer, settings(), 0.1, run, State(step=7), between=False)
    assert "is saved" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()
