"""The one loop."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import get_scheduler

from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.batches import Drawn
from burnish.config import Settings
from burnish.data.walk import epoch_order
from burnish.experience.completions import RolloutError
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError, write_atomically
from burnish.training.progress import Progress
from burnish.training.resume import State, save, save_best
from burnish.training.step import NonFiniteLossError, gradient


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; everything up to the last finished step is saved."""


def train_loop(
    algorithm: Any,
    models: Models,
    batches: Iterator[Drawn],
    *,
    settings: Settings,
    steps: int,
    steps_per_epoch: int,
    run: RunFolder,
    state: State,
    optimizer: torch.optim.Optimizer,
    evaluator: Callable[[], dict[str, float]] | None,
    progress: Progress,
) -> State:
    """Run the loop from `state` to `steps` updates and return the state it ended in.

    One turn draws a batch, prepares it and learns from it: offline in one update, online in several. Checkpoints lie
    between turns, so that whatever a killed turn did is done again, to the same bits. Raises UserError where a loss is
    not finite, before the weights are touched, or a reward is amiss, and Interrupted on Ctrl-C.
    """
    rate = schedule(optimizer, settings, steps)
    with interruptible() as interrupted:
        while state.step < steps and not out_of_patience(settings, state):
            began, first = time.perf_counter(), state.step
            switch_dropout(models, False)
            drawn = draw(batches, models, optimizer, state, run)
            batch = algorithm.prepare(models, drawn.batch)
            told = drawn.metrics
            for part in minibatches(algorithm, batch, settings, state):
                if state.step == steps:
                    break
                torch.manual_seed(settings.seed * 1_000_003 + state.step)  # dropout; a function of the step
                switch_dropout(models, ALGORITHMS[name_of(algorithm)].dropout)
                between = state.step == first
                metrics = update(algorithm, models, part, optimizer, settings, rate(state.step), run, state, between)
                if metrics is None:
                    break
                state.step += 1
                state.num_tokens += int(part.lengths.sum())
                record = {"step": state.step, "epoch": round(state.step / steps_per_epoch, 6)} | metrics | told
                record["num_tokens"] = state.num_tokens
                if evaluator and is_due(settings.eval_every, state.step, steps):
                    record |= evaluation(evaluator, models, settings, state, run)
                run.append("metrics", record)
                run.append("timings", {"step": state.step, "seconds": round(time.perf_counter() - began, 6)})
                progress.step(record)
                began, told = time.perf_counter(), {}
            if state.step == first:
                raise UserError(
                    f"step {state.step + 1}: stop_kl {algorithm.stop_kl} stopped a rollout before its first update, "
                    "when rounding was all that had moved the policy: make stop_kl larger"
                )
            for sample in drawn.samples:
                run.append("samples", {"step": first} | sample)
            state.batches += 1
            state.experience = drawn.state
            stop = interrupted()  # asked once: a signal between two looks must not stop what was not saved
            if stop or (settings.save_every and state.step // settings.save_every > first // settings.save_every):
                save(run, models, optimizer, state)
            if stop:
                raise Interrupted(f"{run.path} is saved up to step {state.step}; --resume goes on with it")
    return state


def draw(
    batches: Iterator[Drawn], models: Models, optimizer: torch.optim.Optimizer, state: State, run: RunFolder
) -> Drawn:
    """The next batch. Where a reward is amiss, the state is saved and the rollout kept before UserError goes on."""
    try:
        return next(batches)
    except RolloutError as error:
        save(run, models, optimizer, state)
        path = keep(error.rollout, run)
        raise UserError(
            f"step {state.step + 1}: {error}; the completions are in {path}, and step {state.step} is saved: mend the "
            "reward and go on with --resume"
        ) from error


def keep(rollout: list[dict[str, Any]], run: RunFolder) -> Path:
    """Write down completions that a reward could not score, for its author to look at."""
    path = run.path / "failed_rollout.jsonl"
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rollout))
    return path


def minibatches(algorithm: Any, batch: Any, settings: Settings, state: State) -> Iterator[Any]:
    """The parts of a batch that an update each learns from: all of it, or in `update_epochs` passes each time other
    parts of `batch_size` rows, in an order that is a function of seed and turn."""
    epochs = getattr(algorithm, "update_epochs", 1)
    if len(batch) <= settings.batch_size:
        yield from (batch for _ in range(epochs))
        return
    for epoch in range(epochs):
        order = torch.tensor(epoch_order(len(batch), settings.seed, (state.batches + 1) * 1_000 + epoch))
        for index in order.split(settings.batch_size):
            yield batch.select(index.to(batch.mask.device))


def switch_dropout(models: Models, on: bool) -> None:
    for model in models.trained().values():
        model.dropout(on)


def update(
    algorithm: Any,
    models: Models,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    learning_rate: float,
    run: RunFolder,
    state: State,
    between: bool = True,
) -> dict[str, float] | None:
    """One gradient step; None, and no step, where the policy has moved past the algorithm's `stop_kl`.

    Raises UserError where loss or gradient is not finite, with the state as it was saved if it lies `between` turns:
    from the middle of one no run could go on to the same bits.
    """
    try:
        metrics = gradient(algorithm, models, batch, settings.accumulate)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm or math.inf)
        if not torch.isfinite(norm):
            raise NonFiniteLossError(f"the gradient's norm is {norm.item()}", batch.rows.tolist())
    except NonFiniteLossError as error:
        if between:
            save(run, models, optimizer, state)
        rows = ", ".join(map(str, error.rows[:10])) + (" …" if len(error.rows) > 10 else "")
        saved = f", and step {state.step} is saved" if between else ""
        raise UserError(
            f"step {state.step + 1}: {error.what} on row(s) {rows} of {settings.data}; nothing was updated{saved}: "
            "look at those rows or lower --learning-rate, and start anew with another --out"
        ) from error
    stop_kl = getattr(algorithm, "stop_kl", None)
    if stop_kl is not None and metrics["policy/approxkl_avg"] > stop_kl:
        optimizer.zero_grad(set_to_none=True)
        return None
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return metrics | {"grad_norm": norm.item(), "learning_rate": learning_rate}


def evaluation(
    evaluator: Callable[[], dict[str, float]], models: Models, settings: Settings, state: State, run: RunFolder
) -> dict[str, float]:
    """Loss and metrics on the evaluation data, and the bookkeeping of early stopping."""
    switch_dropout(models, False)
    try:
        metrics = evaluator()
    except RolloutError as error:
        raise UserError(
            f"step {state.step}, evaluation: {error}; the completions are in {keep(error.rollout, run)}: mend the "
            "reward and go on with --resume from the last checkpoint"
        ) from error
    if not math.isfinite(metrics["loss"]):
        raise UserError(f"step {state.step}: the loss on the evaluation data is {metrics['loss']}: look at that data")
    if metrics["loss"] < state.best_loss:
        state.best_loss, state.evaluations_since_best = metrics["loss"], 0
        if settings.patience:
            save_best(run, models, state.step)
    else:
        state.evaluations_since_best += 1
    return {f"eval_{name}": value for name, value in metrics.items()}


def schedule(optimizer: torch.optim.Optimizer, settings: Settings, steps: int) -> Any:
    """The learning rate of each step (from 0), as a pure function."""
    share = settings.warmup if settings.warmup >= 1 else settings.warmup * steps
    warmup = math.ceil(round(share, 6))  # 7 % of 100 steps are 7.000000000000001 in floating point, and 7 in fact
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    factor = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps).lr_lambdas[0]
    # Step 0 of a warm-up has rate 0 there: shifted by one, so that no update is spent on nothing.
    return lambda step: settings.learning_rate * factor(step + 1 if step + 1 <= warmup else step)


def is_due(every: int | None, step: int, last: int) -> bool:
    return step == last or (every is not None and step % every == 0)


def out_of_patience(settings: Settings, state: State) -> bool:
    return settings.patience > 0 and state.evaluations_since_best >= settings.patience


@contextmanager
def interruptible() -> Iterator[Any]:
    """Let the step under way finish on the first Ctrl-C (and on SIGTERM); a second one stops at once."""
    asked = False

    def ask(signum: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield lambda: asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
