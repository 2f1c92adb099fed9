"""The loop: learning rates by hand, clipping, evaluation, early stopping, interruption, and what is not finite."""

import math
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import BATCH, KNOBS, REWARD, lengths_of, online_models, optimizer_of, settings, source_of

from burnish.algorithms.ppo import PPO
from burnish.algorithms.sft import SFT
from burnish.batches import Drawn
from burnish.experience.interface import RolloutError, draws
from burnish.policies.interface import Models, SamplerError
from burnish.policies.language.sampler import PolicySampler
from burnish.rewards.function import function_reward
from burnish.run import RunFolder, UserError, read_jsonl
from burnish.training.language.learner import GradientLearner
from burnish.training.loop import Interrupted, interruptible, is_due, train_loop
from burnish.training.progress import Progress
from burnish.training.resume import BEST, State, load_best, restore


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
    models = Models(policy=tiny.make_policy("gpt2", double=False))
    chosen = settings(**options)
    with RunFolder.open(folder) as run, Progress("test", steps, quiet=True) as progress:
        run.claim({"algorithm": "sft"})
        state = train_loop(
            models,
            batches or cycle([Drawn(BATCH)]),
            learner=GradientLearner(SFT(), models, optimizer_of(models), chosen, steps, 4, run),
            settings=chosen,
            steps=steps,
            run=run,
            state=State(),
            evaluator=evaluator,
            progress=progress,
        )
        if chosen.patience:
            load_best(run, models, state)
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


@pytest.mark.parametrize(
    ("every", "eval_every", "expected"),
    [(2, None, [2, 4, 6, 7]), (3, 2, [2, 3, 4, 6, 7]), (7, None, [7]), (9, None, [7])],
)
def test_rows_are_written_every_so_often_at_evaluations_and_at_the_end(
    every: int, eval_every: int | None, expected: list[int], tmp_path: Path
) -> None:
    """Each has the means of the steps since the row before: those of the run that has a row for every step."""
    evaluator = None if eval_every is None else lambda: {"loss": 1.0}
    full = run_loop(tmp_path / "full", 7, {})[2]
    state, _, found = run_loop(tmp_path / "run", 7, {"log_every": every, "eval_every": eval_every}, evaluator)
    assert (
        [row["step"] for row in found]
        == [row["step"] for row in read_jsonl(tmp_path / "run/timings.jsonl")]
        == expected
    )
    for begin, row in zip([0, *expected], found, strict=False):
        steps = full[begin : row["step"]]
        for name in ("loss", "grad_norm"):
            assert row[name] == pytest.approx(sum(step[name] for step in steps) / len(steps), rel=1e-12)
        for name in ("epoch", "learning_rate", "num_tokens"):
            assert row[name] == steps[-1][name]
    assert state.unlogged == {}


def test_the_progress_bar_counts_every_step(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models, chosen = Models(policy=tiny.make_policy("gpt2", double=False)), settings(log_every=3)
    with RunFolder.open(tmp_path / "run") as run, Progress("SFT", 4) as progress:
        learner = GradientLearner(SFT(), models, optimizer_of(models), chosen, 4, 4, run)
        more: dict[str, Any] = {"steps": 4, "run": run, "state": State(), "evaluator": None, "progress": progress}
        train_loop(models, cycle([Drawn(BATCH)]), learner=learner, settings=chosen, **more)
    rows = {row["step"]: row["loss"] for row in read_jsonl(tmp_path / "run" / "metrics.jsonl")}
    shown = [f"SFT {step}/4 loss {rows[3 if step < 4 else 4]:.4g}" for step in (3, 4)]
    assert capfd.readouterr().err.splitlines() == ["SFT 1/4", "SFT 2/4", *shown]


@pytest.mark.parametrize(("every", "expected"), [(2, [2, 4, 5]), (None, [5]), (5, [5]), (9, [5])])
def test_evaluation_comes_every_so_often_and_at_the_end(every: int | None, expected: list[int], tmp_path: Path) -> None:
    _, _, metrics = run_loop(tmp_path / "run", 5, {"eval_every": every}, lambda: {"loss": 1.0, "other": 2.0})
    assert [m["step"] for m in metrics if "eval_loss" in m] == expected
    assert all(m["eval_other"] == 2.0 for m in metrics if "eval_loss" in m)
    assert [step for step in range(1, 6) if is_due(every, step, 5)] == expected


def test_dropout_is_off_while_evaluating(tmp_path: Path) -> None:
    seen: list[bool] = []
    models = Models(policy=tiny.make_policy("gpt2", double=False))
    with RunFolder.open(tmp_path / "run") as run, Progress("test", 3, quiet=True) as progress:
        train_loop(
            models,
            cycle([Drawn(BATCH)]),
            learner=GradientLearner(SFT(), models, optimizer_of(models), settings(eval_every=1), 3, 3, run),
            settings=settings(eval_every=1),
            steps=3,
            run=run,
            state=State(),
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
    models = Models(policy=tiny.make_policy("gpt2", double=False))
    losses, seen = iter([3.0, 2.0, 2.5, 2.4]), []

    def evaluator() -> dict[str, float]:
        seen.append({name: p.detach().clone() for name, p in models.policy.parameters().items()})
        return {"loss": next(losses)}

    with RunFolder.open(tmp_path / "run") as run, Progress("test", 9, quiet=True) as progress:
        state = train_loop(
            models,
            cycle([Drawn(BATCH)]),
            learner=GradientLearner(SFT(), models, optimizer_of(models), settings(eval_every=1, patience=2), 9, 3, run),
            settings=settings(eval_every=1, patience=2),
            steps=9,
            run=run,
            state=State(),
            evaluator=evaluator,
            progress=progress,
        )
        load_best(run, models, state)
    assert len(seen) == 4
    for name, p in models.policy.parameters().items():
        assert torch.equal(p, seen[1][name])
    assert any(not torch.equal(seen[1][name], seen[3][name]) for name in seen[1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [("flip", "no checkpoint in .*best is intact"), ("remove", "best with the best weights is missing: restore it")],
)
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
    models = Models(policy=tiny.make_policy("gpt2", double=False))
    with RunFolder.open(tmp_path / "run", resume=True) as run, pytest.raises(UserError, match=message):
        load_best(run, models, State(best_step=1))


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
    models = Models(policy=tiny.make_policy("gpt2", double=False))
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


def run_online(
    folder: Path, steps: int, algorithm: PPO, reward: Any = REWARD, resume: bool = False, **options: Any
) -> tuple[State, Models]:
    """Rollouts of 8 of 20 prompts in batches of 4; two of 8 and one of 4 are an epoch."""
    models = online_models()
    parts = [p for model in models.trained().values() for p in model.parameters().values()]
    optimizer = torch.optim.Adam(parts, lr=0.01)
    evaluator, sampler = options.pop("evaluator", None), options.pop("sampler", None)
    source = source_of(models, reward=reward)
    source = source if sampler is None else replace(source, sampler=sampler(models.policy))
    chosen = settings(batch_size=4, **options)
    with RunFolder.open(folder, resume) as run, Progress("test", steps, quiet=True) as progress:
        run.claim({"algorithm": "ppo"})
        state = restore(run, models, optimizer, pytest.fail) if resume else State()
        state = train_loop(
            models,
            draws(KNOBS, source, state.batches, state.experience),
            learner=GradientLearner(algorithm, models, optimizer, chosen, steps, 5 * algorithm.update_epochs, run),
            settings=chosen,
            steps=steps,
            run=run,
            state=state,
            evaluator=evaluator,
            progress=progress,
        )
    return state, models


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


def test_rows_of_rollouts_resume_in_the_middle_of_their_means(tmp_path: Path) -> None:
    """Two updates a rollout and a row every three: the rows of steps 3, 6 and 8 are means over 2, 1 and 1 rollouts,
    also where the run was stopped after step 4."""
    full = tmp_path / "full"
    run_online(full, 8, PPO(update_epochs=1), schedule="constant")
    kls = {row["step"]: row["objective/kl"] for row in read_jsonl(full / "metrics.jsonl") if "objective/kl" in row}
    assert list(kls) == [1, 3, 5, 6, 8]
    knobs: dict[str, Any] = {"log_every": 3, "schedule": "constant", "save_every": 4}
    run_online(tmp_path / "whole", 8, PPO(update_epochs=1), **knobs)
    rows = read_jsonl(tmp_path / "whole" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 8]
    expected = [(kls[1] + kls[3]) / 2, (kls[5] + kls[6]) / 2, kls[8]]
    assert [row["objective/kl"] for row in rows] == pytest.approx(expected, rel=1e-12)
    assert [row["rollout"] for row in rows] == [2, 4, 5]
    (tmp_path / "run").mkdir()
    shutil.copytree(tmp_path / "whole", tmp_path / "run", dirs_exist_ok=True)
    for path in (tmp_path / "run").glob("checkpoints/*"):
        if path.name != "step-000005":
            shutil.rmtree(path)
    run_online(tmp_path / "run", 8, PPO(update_epochs=1), resume=True, **knobs)
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_tokens_are_counted_as_often_as_they_are_learned_from(tmp_path: Path) -> None:
    """A single rollout's 8 rows, prompt and completion, twice."""
    state, _ = run_online(tmp_path / "run", 4, PPO(update_epochs=2))
    batch = next(draws(KNOBS, source_of(online_models()))).batch
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


def test_a_price_of_kl_that_adapts_is_part_of_the_state(tmp_path: Path) -> None:
    """Updates that lead far past the target double the price after each of two rollouts; a run that was stopped between
    them ends where one that was not does."""
    algorithm = PPO(update_epochs=2, kl_penalty=0.5, kl_penalty_target=1e-9)
    state, models = run_online(tmp_path / "whole", 8, algorithm, schedule="constant")
    assert state.algorithm == {"kl_penalty": 2.0}
    run_online(tmp_path / "run", 4, algorithm, save_every=4, schedule="constant")
    again, resumed = run_online(tmp_path / "run", 8, algorithm, resume=True, schedule="constant")
    assert again.algorithm == state.algorithm
    fixed = run_online(tmp_path / "fixed", 8, PPO(update_epochs=2, kl_penalty=0.5), schedule="constant")[1]
    for name, p in models.policy.parameters().items():
        assert torch.equal(p, resumed.policy.parameters()[name])
    assert any(not torch.equal(p, fixed.policy.parameters()[name]) for name, p in models.policy.parameters().items())


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
    with pytest.raises(
        UserError, match=r"step 1: the method's early stop ended a rollout before its first update, .*: raise its limit"
    ):
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
    assert str(caught.value).startswith(f"step {4 * turn + 1}: the reward mine returned nan for row {rows[3]['row']}: ")
    assert f"step {4 * turn} is saved: continue with --resume" in str(caught.value)
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


@pytest.mark.parametrize("turn", [0, 2])
def test_a_sampler_that_fails_leaves_a_run_that_goes_on(turn: int, tmp_path: Path) -> None:
    class Away(PolicySampler):
        def sample(self, *arguments: Any) -> Any:
            if next(calls) == turn:
                raise SamplerError("the sampler is away")
            return super().sample(*arguments)

    run_online(tmp_path / "whole", 12, PPO(update_epochs=2))
    calls, run = iter(range(99)), tmp_path / "run"
    sentence = rf"^step {4 * turn + 1}: the sampler is away\. Step {4 * turn} is saved: continue with --resume$"
    with pytest.raises(UserError, match=sentence):
        run_online(run, 12, PPO(update_epochs=2), sampler=Away)
    run_online(run, 12, PPO(update_epochs=2), resume=True)
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_sampler_that_fails_in_evaluation_is_a_sentence(tmp_path: Path) -> None:
    def evaluator() -> dict[str, float]:
        raise SamplerError("the sampler is away")

    sentence = r"^step 6, evaluation: the sampler is away; continue with --resume from the last checkpoint$"
    with pytest.raises(UserError, match=sentence):
        run_online(tmp_path / "run", 9, PPO(update_epochs=2), save_every=2, eval_every=6, evaluator=evaluator)


def test_a_signal_lets_the_rollout_finish(tmp_path: Path) -> None:
    """Checkpoints lie between rollouts: all four updates of the second one are made."""

    def mine(prompts: Any, responses: Any, **columns: Any) -> list[float]:
        if next(calls) == 1:
            subprocess.run(["kill", "-INT", str(os.getpid())], check=True)  # from outside, as Ctrl-C is
        return lengths_of(prompts, responses)

    calls = iter(range(99))
    with pytest.raises(Interrupted, match="saved up to step 8"):
        run_online(tmp_path / "run", 20, PPO(update_epochs=2), function_reward(mine))
    assert [path.name for path in (tmp_path / "run").glob("checkpoints/*")] == ["step-000008"]


def test_dropout_is_off_where_a_ratio_matters(tmp_path: Path) -> None:
    """Whenever policy, reference or critic of PPO reads anything, with a gradient or without."""
    models, chosen = online_models(), settings(batch_size=4)
    seen: list[tuple[bool, bool]] = []
    for model in models.trained().values():
        body = model.model.base_model
        body.register_forward_hook(lambda module, *_: seen.append((module.training, torch.is_grad_enabled())))
        model.dropout(True)
    with RunFolder.open(tmp_path / "run") as run, Progress("test", 5, quiet=True) as progress:
        train_loop(
            models,
            draws(KNOBS, source_of(models)),
            learner=GradientLearner(PPO(update_epochs=2), models, optimizer_of(models), chosen, 5, 10, run),
            settings=chosen,
            steps=5,
            run=run,
            state=State(),
            evaluator=None,
            progress=progress,
        )
    assert {training for training, _ in seen} == {False}
    assert {grad for _, grad in seen} == {True, False}


def test_a_block_inside_another_asks_both() -> None:
    with interruptible() as outer:
        with interruptible() as inner:
            signal.raise_signal(signal.SIGINT)
            assert inner()
            assert outer()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
