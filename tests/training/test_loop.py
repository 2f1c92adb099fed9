"""The loop: learning rates by hand, clipping, evaluation, early stopping, interruption, and what is not finite."""

import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from burnish.algorithms.sft import SFT
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Drawn
from burnish.config import Settings
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError, read_jsonl
from burnish.training.loop import Interrupted, interruptible, is_due, schedule, train_loop, update
from burnish.training.progress import Progress
from burnish.training.resume import BEST, State, load_best, restore
from burnish.training.step import gradient

BATCH = tiny.demonstrations(tiny.random_rows(6, seed=5))


def settings(**options: Any) -> Settings:
    return Settings(**{"learning_rate": 0.01, "data": "rows.jsonl", "save_every": 0, "quiet": True} | options)


def optimizer_of(models: Models, rate: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.SGD(models.policy.parameters().values(), lr=rate)


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


def test_an_evaluation_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step 2: the loss on the evaluation data is nan"):
        run_loop(tmp_path / "run", 5, {"eval_every": 2}, lambda: {"loss": math.nan})
    assert len(read_jsonl(tmp_path / "run" / "metrics.jsonl")) == 1


def run_loop(
    folder: Path,
    steps: int,
    options: dict[str, Any],
    evaluator: Callable[[], dict[str, float]] | None = None,
    batches: Iterator[Any] | None = None,
) -> tuple[State, Models, list[dict[str, Any]]]:
    models = Models(tiny.make_policy("gpt2", double=False))
    chosen = settings(**options)
    with RunFolder.open(folder) as run, Progress("test", steps, quiet=True) as progress:
        run.claim({"algorithm": "sft"})
        state = train_loop(
            SFT(),
            models,
            batches or cycle([Drawn(BATCH)]),
            settings=chosen,
            steps=steps,
            steps_per_epoch=4,
            run=run,
            state=State(),
            optimizer=optimizer_of(models),
            evaluator=evaluator,
            progress=progress,
        )
        if chosen.patience:
            load_best(run, models)
    return state, models, read_jsonl(folder / "metrics.jsonl")


def test_metrics_have_one_line_a_step(tmp_path: Path) -> None:
    state, _, metrics = run_loop(tmp_path / "run", 5, {"schedule": "linear"})
    tokens = int(BATCH.lengths.sum())
    assert [m["step"] for m in metrics] == [1, 2, 3, 4, 5]
    assert [m["epoch"] for m in metrics] == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert [m["num_tokens"] for m in metrics] == [tokens * k for k in range(1, 6)]
    assert [m["learning_rate"] for m in metrics] == pytest.approx([0.01, 0.008, 0.006, 0.004, 0.002])
    assert all(list(m)[:3] == ["step", "epoch", "loss"] for m in metrics)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert (state.step, state.num_tokens) == (5, 5 * tokens)
    timings = read_jsonl(tmp_path / "run" / "timings.jsonl")
    assert [t["step"] for t in timings] == [1, 2, 3, 4, 5]
    assert all(t["seconds"] > 0 for t in timings)


@pytest.mark.parametrize(("every", "expected"), [(2, [2, 4, 5]), (None, [5]), (5, [5]), (9, [5])])
def test_evaluation_comes_every_so_often_and_at_the_end(every: int | None, expected: list[int], tmp_path: Path) -> None:
    _, _, metrics = run_loop(tmp_path / "run", 5, {"eval_every": every}, lambda: {"loss": 1.0, "other": 2.0})
    assert [m["step"] for m in metrics if "eval_loss" in m] == expected
    assert all(m["eval_other"] == 2.0 for m in metrics if "eval_loss" in m)
    assert [step for step in range(1, 6) if is_due(every, step, 5)] == expected


def test_dropout_is_off_while_evaluating(tmp_path: Path) -> None:
    seen: list[bool] = []
    models = Models(tiny.make_policy("gpt2", double=False))
    with RunFolder.open(tmp_path / "run") as run, Progress("test", 3, quiet=True) as progress:
        train_loop(
            SFT(),
            models,
            cycle([Drawn(BATCH)]),
            settings=settings(eval_every=1),
            steps=3,
            steps_per_epoch=3,
            run=run,
            state=State(),
            optimizer=optimizer_of(models),
            evaluator=lambda: seen.append(models.policy.model.training) or {"loss": 1.0},  # type: ignore[attr-defined, func-returns-value]
            progress=progress,
        )
    assert seen == [False] * 3


def test_patience_stops_and_keeps_the_best(tmp_path: Path) -> None:
    """Losses 3 3.5 2 2.5 2: a better one starts the count anew, and a tie is not better, so the run stops after the
    fifth evaluation with the weights of the third; the run without patience goes on."""
    losses = iter([3.0, 3.5, 2.0, 2.5, 2.0, 1.0, 0.5])
    evaluator = lambda: {"loss": next(losses)}  # noqa: E731
    state, _, metrics = run_loop(tmp_path / "run", 14, {"eval_every": 2, "patience": 2}, evaluator)
    assert (state.step, len(metrics), state.best_loss) == (10, 10, 2.0)
    losses = iter([3.0, 3.5, 2.0, 2.5, 2.0, 1.0, 0.5])
    assert run_loop(tmp_path / "more", 12, {"eval_every": 2}, evaluator)[0].step == 12


def test_the_best_weights_are_those_of_the_best_evaluation(tmp_path: Path) -> None:
    """The evaluator itself remembers the weights that it saw when it gave its lowest loss."""
    models = Models(tiny.make_policy("gpt2", double=False))
    losses, seen = iter([3.0, 2.0, 2.5, 2.4]), []

    def evaluator() -> dict[str, float]:
        seen.append({name: p.detach().clone() for name, p in models.policy.parameters().items()})
        return {"loss": next(losses)}

    with RunFolder.open(tmp_path / "run") as run, Progress("test", 9, quiet=True) as progress:
        train_loop(
            SFT(),
            models,
            cycle([Drawn(BATCH)]),
            settings=settings(eval_every=1, patience=2),
            steps=9,
            steps_per_epoch=3,
            run=run,
            state=State(),
            optimizer=optimizer_of(models),
            evaluator=evaluator,
            progress=progress,
        )
        load_best(run, models)
    assert len(seen) == 4
    for name, p in models.policy.parameters().items():
        assert torch.equal(p, seen[1][name])
    assert any(not torch.equal(seen[1][name], seen[3][name]) for name in seen[1])


@pytest.mark.parametrize(("damage", "message"), [("flip", "no checkpoint in .*best is sound"), ("remove", "is gone")])
def test_best_weights_that_are_damaged_are_not_taken(damage: str, message: str, tmp_path: Path) -> None:
    losses = iter([1.0, 2.0])
    run_loop(tmp_path / "run", 2, {"eval_every": 1, "patience": 5}, lambda: {"loss": next(losses)})
    (file,) = (tmp_path / "run" / BEST).glob("step-000001/*.safetensors")
    if damage == "flip":
        content = bytearray(file.read_bytes())
        content[-7] ^= 1
        file.write_bytes(content)
    else:
        shutil.rmtree(tmp_path / "run" / BEST)
    models = Models(tiny.make_policy("gpt2", double=False))
    with RunFolder.open(tmp_path / "run", resume=True) as run, pytest.raises(UserError, match=message):
        load_best(run, models)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish_saves_and_stops(kind: signal.Signals, tmp_path: Path) -> None:
    def batches() -> Iterator[Any]:
        for number in range(9):
            if number == 2:
                os.kill(os.getpid(), kind)
            yield Drawn(BATCH)

    before = signal.getsignal(kind)
    with pytest.raises(Interrupted, match=r"saved up to step 3"):
        run_loop(tmp_path / "run", 9, {}, None, batches())
    assert signal.getsignal(kind) is before
    assert len(read_jsonl(tmp_path / "run" / "metrics.jsonl")) == 3
    models = Models(tiny.make_policy("gpt2", double=False))
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        assert restore(run, models, optimizer_of(models), pytest.fail).step == 3


def test_a_second_signal_stops_at_once() -> None:
    with interruptible() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("every", "expected"), [(0, []), (2, [2, 4]), (1, [4, 5]), (5, [5])])
def test_checkpoints_come_every_so_often(every: int, expected: list[int], tmp_path: Path) -> None:
    run_loop(tmp_path / "run", 5, {"save_every": every})
    assert sorted(int(p.name[5:]) for p in (tmp_path / "run").glob("checkpoints/step-*")) == expected
