"""The loop: learning rates by hand, clipping, evaluation, early stopping, interruption, and what is not finite."""

import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_scorers import make_scorer

from burnish.algorithms.ppo import PPO
from burnish.algorithms.sft import SFT
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Drawn
from burnish.config import Settings
from burnish.data.prompts import read_prompts
from burnish.data.sources import load
from burnish.experience.completions import Completions, RolloutError, rollouts
from burnish.policies.interface import Models
from burnish.rewards.function import function_reward
from burnish.run import RunFolder, UserError, read_jsonl
from burnish.training.loop import Interrupted, interruptible, is_due, minibatches, schedule, train_loop, update
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


# Online: several updates a turn ------------------------------------------------------------------------------------


def lengths_of(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    return [float(len(response.split())) for response in responses]


REWARD = function_reward(lengths_of)
KNOBS = Completions(reward=lengths_of, rollout=8, max_new_tokens=4, kl_target=0.1, kl_horizon=20, keep_samples=2)


def online_models() -> Models:
    policies = [tiny.make_policy("gpt2", seed=seed, double=False) for seed in (0, 1)]
    return Models(*policies, make_scorer("gpt2", double=False))


def run_online(
    folder: Path, steps: int, algorithm: PPO, reward: Any = REWARD, resume: bool = False, **options: Any
) -> tuple[State, Models]:
    """Rollouts of 8 of 20 prompts in batches of 4; two of 8 and one of 4 are an epoch."""
    models = online_models()
    parts = [p for model in models.trained().values() for p in model.parameters().values()]
    optimizer = torch.optim.Adam(parts, lr=0.01)
    prompts = read_prompts(load(tiny.prompt_rows(20)), models.policy.tokenizer, 20, "rows")  # type: ignore[attr-defined]
    evaluator = options.pop("evaluator", None)
    with RunFolder.open(folder, resume) as run, Progress("test", steps, quiet=True) as progress:
        run.claim({"algorithm": "ppo"})
        state = restore(run, models, optimizer, pytest.fail) if resume else State()
        state = train_loop(
            algorithm,
            models,
            rollouts(models, KNOBS, prompts, reward, 0, state.batches, state.experience),
            settings=settings(batch_size=4, **options),
            steps=steps,
            steps_per_epoch=5 * algorithm.update_epochs,
            run=run,
            state=state,
            optimizer=optimizer,
            evaluator=evaluator,
            progress=progress,
        )
    return state, models


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


@pytest.mark.parametrize(("steps", "saved"), [(1, []), (3, [3]), (4, [4]), (6, [4, 6]), (11, [8, 10])])
def test_a_run_ends_with_its_step_also_in_the_middle_of_a_rollout(steps: int, saved: list[int], tmp_path: Path) -> None:
    """Four updates a rollout but for the third, of 4 prompts, with two."""
    state, _ = run_online(tmp_path / "run", steps, PPO(update_epochs=2), save_every=2)
    metrics = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert state.step == steps == len(metrics)
    assert [m["step"] for m in metrics] == list(range(1, steps + 1))
    assert [m["epoch"] for m in metrics] == pytest.approx([k / 10 for k in range(1, steps + 1)])
    begun = [step for step in (1, 5, 9, 11) if step <= steps]
    assert [m["step"] for m in metrics if "objective/kl" in m] == begun
    assert [m["rollout"] for m in metrics if "rollout" in m] == list(range(1, len(begun) + 1))
    assert state.batches == len(begun)
    assert all("policy/approxkl_avg" in m for m in metrics)
    samples = read_jsonl(tmp_path / "run" / "samples.jsonl")
    assert [sample["step"] for sample in samples] == [step - 1 for step in begun for _ in range(2)]
    assert sorted(int(path.name[5:]) for path in (tmp_path / "run").glob("checkpoints/*")) == saved


def test_tokens_are_counted_as_often_as_they_are_learned_from(tmp_path: Path) -> None:
    """A single rollout's 8 rows, prompt and completion, twice."""
    state, _ = run_online(tmp_path / "run", 4, PPO(update_epochs=2))
    models = online_models()
    prompts = read_prompts(load(tiny.prompt_rows(20)), models.policy.tokenizer, 20, "rows")  # type: ignore[attr-defined]
    batch = next(rollouts(models, KNOBS, prompts, REWARD, 0)).batch
    assert state.num_tokens == 2 * int(batch.lengths.sum())


def test_beta_is_part_of_the_state(tmp_path: Path) -> None:
    state, _ = run_online(tmp_path / "run", 8, PPO(update_epochs=2))
    first, second = (m for m in read_jsonl(tmp_path / "run" / "metrics.jsonl") if "objective/kl" in m)
    betas = [KNOBS.beta]
    for m in (first, second):
        assert m["objective/kl_coef"] == pytest.approx(betas[-1], rel=1e-12)
        betas.append(betas[-1] * (1 + max(-0.2, min(0.2, m["objective/kl"] / 0.1 - 1)) * 8 / 20))
    assert state.experience == {"beta": pytest.approx(betas[-1], rel=1e-12)}
    assert len(set(betas)) == 3


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


def test_stop_kl_ends_a_rollout_and_not_the_run(tmp_path: Path) -> None:
    """With a limit between what the second and third update of the unlimited run begin with, a rollout has two steps.

    The step that is not made has no line and counts for nothing: the next line is the next rollout's.
    """
    run_online(tmp_path / "free", 4, PPO(update_epochs=2))
    kls = [m["policy/approxkl_avg"] for m in read_jsonl(tmp_path / "free" / "metrics.jsonl")]
    assert kls[0] < kls[1] < kls[2]
    state, _ = run_online(tmp_path / "run", 4, PPO(update_epochs=2, stop_kl=(kls[1] + kls[2]) / 2))
    metrics = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [m["step"] for m in metrics] == [1, 2, 3, 4]
    assert [m.get("rollout") for m in metrics[:3]] == [1, None, 2]
    assert [m["policy/approxkl_avg"] for m in metrics[:2]] == kls[:2]
    assert state.step == 4


def test_a_stop_kl_that_no_update_gets_past_is_refused(tmp_path: Path) -> None:
    """Else the run would sample for ever."""
    with pytest.raises(UserError, match="step 1: stop_kl 1e-30 stopped a rollout before its first update"):
        run_online(tmp_path / "run", 4, PPO(stop_kl=1e-30))


def failing_from(turn: int) -> Any:
    """A reward that is NaN for the fourth completion of the rollout `turn` and those after it."""
    calls = 0

    def mine(prompts: Any, responses: Any, **columns: Any) -> list[float]:
        nonlocal calls
        calls += 1
        scores = lengths_of(prompts, responses)
        return scores if calls <= turn else [*scores[:3], math.nan, *scores[4:]]

    return function_reward(mine, "mine")


@pytest.mark.parametrize("turn", [0, 1])
def test_a_reward_that_is_amiss_is_mended_and_the_run_goes_on(turn: int, tmp_path: Path) -> None:
    """Nothing of the rollout is lost, nor of the run, which ends with the bits of one whose reward was sound."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    _, expected = run_online(whole, 6, PPO(update_epochs=2))
    with pytest.raises(UserError) as caught:
        run_online(run, 6, PPO(update_epochs=2), failing_from(turn))
    rows = read_jsonl(run / "failed_rollout.jsonl")
    assert len(rows) == 8
    assert [path.name for path in run.glob("checkpoints/*")] == [f"step-{4 * turn:06d}"]
    assert str(caught.value).startswith(f"step {4 * turn + 1}: the reward mine gave nan for row {rows[3]['row']}: ")
    assert f"step {4 * turn} is saved: mend the reward and go on with --resume" in str(caught.value)
    assert str(run / "failed_rollout.jsonl") in str(caught.value)
    kept = [{key: row[key] for key in ("row", "prompt", "response")} for row in read_jsonl(whole / "samples.jsonl")]
    assert rows[:2] == kept[2 * turn : 2 * turn + 2]
    _, found = run_online(run, 6, PPO(update_epochs=2), resume=True)
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    for part, model in found.trained().items():
        same = expected.trained()[part].parameters()
        assert all(torch.equal(p, same[name]) for name, p in model.parameters().items())


def test_a_reward_that_is_amiss_in_evaluation_keeps_its_completions_too(tmp_path: Path) -> None:
    """In the middle of a rollout, where nothing may be saved: the run goes on from the checkpoint before."""

    def evaluator() -> dict[str, float]:
        raise RolloutError("the reward mine gave nan for row 3: mend it", [{"row": 3, "prompt": "a", "response": "b"}])

    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"step 6, evaluation: the reward mine gave nan for row 3: .* with --resume"):
        run_online(run, 9, PPO(update_epochs=2), save_every=2, eval_every=6, evaluator=evaluator)
    assert read_jsonl(run / "failed_rollout.jsonl") == [{"row": 3, "prompt": "a", "response": "b"}]
    assert [path.name for path in run.glob("checkpoints/*")] == ["step-000004"]


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


def test_a_signal_lets_the_rollout_finish(tmp_path: Path) -> None:
    """Checkpoints lie between rollouts: all four updates of the second one are made."""

    def mine(prompts: Any, responses: Any, **columns: Any) -> list[float]:
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return lengths_of(prompts, responses)

    calls = iter(range(99))
    with pytest.raises(Interrupted, match="saved up to step 8"):
        run_online(tmp_path / "run", 20, PPO(update_epochs=2), function_reward(mine))
    assert [path.name for path in (tmp_path / "run").glob("checkpoints/*")] == ["step-000008"]


def test_dropout_is_off_where_a_ratio_matters(tmp_path: Path) -> None:
    """Whenever policy, reference or critic of PPO reads anything, with a gradient or without."""
    models = online_models()
    prompts = read_prompts(load(tiny.prompt_rows(20)), models.policy.tokenizer, 20, "rows")  # type: ignore[attr-defined]
    seen: list[tuple[bool, bool]] = []
    for model in models.trained().values():
        body = model.model.base_model  # type: ignore[attr-defined]
        body.register_forward_hook(lambda module, *_: seen.append((module.training, torch.is_grad_enabled())))
        model.dropout(True)
    with RunFolder.open(tmp_path / "run") as run, Progress("test", 5, quiet=True) as progress:
        train_loop(
            PPO(update_epochs=2),
            models,
            rollouts(models, KNOBS, prompts, REWARD, 0),
            settings=settings(batch_size=4),
            steps=5,
            steps_per_epoch=10,
            run=run,
            state=State(),
            optimizer=optimizer_of(models),
            evaluator=None,
            progress=progress,
        )
    assert {training for training, _ in seen} == {False}
    assert {grad for _, grad in seen} == {True, False}
