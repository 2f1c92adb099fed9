"""The one loop."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import get_scheduler

from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.config import Settings
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.training.progress import Progress
from burnish.training.resume import State, save, save_best
from burnish.training.step import NonFiniteLossError, gradient


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; everything up to the last finished step is saved."""


def train_loop(
    algorithm: Any,
    models: Models,
    batches: Iterator[Any],
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
    """Run the loop from `state.step` to `steps` and return the state it ended in.

    Raises UserError where a loss is not finite, before the weights are touched, and Interrupted on Ctrl-C.
    """
    rate = schedule(optimizer, settings, steps)
    dropout = ALGORITHMS[name_of(algorithm)].dropout
    with interruptible() as interrupted:
        while state.step < steps and not out_of_patience(settings, state):
            began = time.perf_counter()
            batch = next(batches)
            torch.manual_seed(settings.seed * 1_000_003 + state.step)  # dropout; a function of the step, so resumable
            models.policy.dropout(dropout)
            batch = algorithm.prepare(models, batch)
            metrics = update(algorithm, models, batch, optimizer, settings, rate(state.step), run, state)
            state.step += 1
            state.num_tokens += int(batch.lengths.sum())
            record = {"step": state.step, "epoch": round(state.step / steps_per_epoch, 6)} | metrics
            record["num_tokens"] = state.num_tokens
            if evaluator and is_due(settings.eval_every, state.step, steps):
                record |= evaluation(evaluator, models, settings, state, run)
            run.append("metrics", record)
            run.append("timings", {"step": state.step, "seconds": round(time.perf_counter() - began, 6)})
            progress.step(record)
            stop = interrupted()  # asked once: a signal between two looks must not stop what was not saved
            if stop or (settings.save_every and state.step % settings.save_every == 0):
                save(run, models, optimizer, state)
            if stop:
                raise Interrupted(f"{run.path} is saved up to step {state.step}; --resume goes on with it")
    return state


def update(
    algorithm: Any,
    models: Models,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    learning_rate: float,
    run: RunFolder,
    state: State,
) -> dict[str, float]:
    """One gradient step. Raises UserError, with the state as it was saved, where loss or gradient is not finite."""
    try:
        metrics = gradient(algorithm, models, batch, settings.accumulate)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm or math.inf)
        if not torch.isfinite(norm):
            raise NonFiniteLossError(f"the gradient's norm is {norm.item()}", batch.rows.tolist())
    except NonFiniteLossError as error:
        save(run, models, optimizer, state)
        rows = ", ".join(map(str, error.rows[:10])) + (" …" if len(error.rows) > 10 else "")
        raise UserError(
            f"step {state.step + 1}: {error.what} on row(s) {rows} of {settings.data}; nothing was updated, and step "
            f"{state.step} is saved: look at those rows or lower --learning-rate, and start anew with another --out"
        ) from error
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return metrics | {"grad_norm": norm.item(), "learning_rate": learning_rate}


def evaluation(
    evaluator: Callable[[], dict[str, float]], models: Models, settings: Settings, state: State, run: RunFolder
) -> dict[str, float]:
    """Loss and metrics on the evaluation data, and the bookkeeping of early stopping."""
    models.policy.dropout(False)
    metrics = evaluator()
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
