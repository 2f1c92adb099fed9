"""The one loop."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from burnish.batches import Drawn
from burnish.data.walk import ReadError
from burnish.experience.interface import RolloutError
from burnish.policies.interface import Models, SamplerError
from burnish.run import RunFolder, UserError, write_atomically
from burnish.run.world import SEEDS
from burnish.training.learner import Learner
from burnish.training.progress import Progress
from burnish.training.resume import EVALUATED, State, save_best


@runtime_checkable
class Paced(Protocol):
    """The settings that the loop uses."""

    @property
    def seed(self) -> int: ...
    @property
    def eval_every(self) -> int | None: ...
    @property
    def log_every(self) -> int: ...
    @property
    def save_every(self) -> int: ...
    @property
    def patience(self) -> int: ...
    @property
    def keeps_best(self) -> bool: ...


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; everything up to the last finished step is saved."""


def train_loop(
    models: Models,
    batches: Iterator[Drawn],
    *,
    learner: Learner,
    settings: Paced,
    steps: int | float,
    run: RunFolder,
    state: State,
    evaluator: Callable[[], dict[str, float]] | None,
    progress: Progress,
    first_row: bool = False,
) -> State:
    """Run the loop from `state` to `steps` updates, or to the end of `batches`, and return the final state.

    Each round draws a batch, prepares it and learns from it: offline in one update, online in several. Checkpoints lie
    between rounds, so that whatever a killed round did is done again, to the same bits. Every `log_every`th update, an
    evaluation and the last update have a row in the run's metrics, and with `first_row` the first one. Raises UserError
    where a loss is not finite, before the weights are touched, or a reward fails, and Interrupted on Ctrl-C.
    """
    began = time.perf_counter()
    with interruptible() as interrupted:
        while state.step < steps and not out_of_patience(settings, state):
            first, turn_began = state.step, time.perf_counter()
            switch_dropout(models, False)
            drawn = draw(batches, learner, state, run)
            if drawn is None:
                break
            batch = learner.prepare(drawn.batch, state)
            news = drawn.metrics
            for part in learner.minibatches(batch, state):
                if state.step == steps:
                    state.cut = True
                    break
                if learner.dropout:  # dropout masks are a function of the step
                    torch.manual_seed(run.world.rank * SEEDS + settings.seed * 1_000_003 + state.step)
                    switch_dropout(models, True)
                metrics = learner.update(part, state, first=state.step == first)
                if metrics is None:
                    break
                state.step += 1
                learner.note(metrics | news, state)
                news, record = {}, None
                due = evaluator is not None and is_due(settings.eval_every, state.step, steps)
                if due or is_due(settings.log_every, state.step, steps) or (first_row and state.step == 1):
                    before = {"unlogged": state.unlogged, "best": best_of(state)}
                    record = {"step": state.step} | learner.record(state)
                    if evaluator and due:
                        record |= evaluation(evaluator, models, settings, state, run)
                    evaluated = due and is_due(settings.eval_every, state.step, math.inf)
                    has_row = evaluated or is_due(settings.log_every, state.step, math.inf)
                    if due > evaluated or not has_row:  # only because the run ends
                        state.ending = {"record": record, "has_row": has_row} | before
                    run.append("metrics", record)
                    seconds = time.perf_counter() - began
                    run.append("timings", {"step": state.step, "seconds": round(seconds, 6)} | learner.pace(seconds))
                    began = time.perf_counter()
                progress.step(record)
            if state.step == first:
                raise UserError(
                    f"step {state.step + 1}: the method's early stop ended a rollout before its first update, when "
                    "only rounding had moved the policy: raise its limit"
                )
            switch_dropout(models, False)
            learner.conclude(batch, state)
            write_turn(run, drawn, first, time.perf_counter() - turn_began)
            state.batches += 1
            state.experience = drawn.state
            stop = run.world.any(interrupted())  # asked once: a later signal must not stop what was not saved
            if stop or (settings.save_every and state.step // settings.save_every > first // settings.save_every):
                paused = time.perf_counter()
                learner.save(state, goes_on=not stop)
                began += time.perf_counter() - paused  # a row has the time of its updates alone
            if stop:
                raise Interrupted(f"{run.path} is saved up to step {state.step}; --resume continues it")
    return state


def write_turn(run: RunFolder, drawn: Drawn, first: int, seconds: float) -> None:
    """Write the samples and events of a turn behind step `first`, and what its seconds were spent on."""
    for sample in drawn.samples:
        run.append("samples", {"step": first} | sample)
    for event in drawn.events:
        run.append("events", {"step": first} | event)
    if drawn.spent:
        spent = drawn.spent | {"turn_seconds": seconds}
        run.append("timings", {"step": first} | {name: round(value, 6) for name, value in spent.items()})


def draw(batches: Iterator[Drawn], learner: Learner, state: State, run: RunFolder) -> Drawn | None:
    """The next batch, None at the end. Where a reward or an environment fails, a streamed row cannot be read, or a
    sampler elsewhere fails, the state and the rollout are saved before UserError is raised."""
    try:
        return next(batches, None)
    except (ReadError, SamplerError) as error:
        learner.save(state)
        raise UserError(
            f"step {state.step + 1}: {str(error).rstrip('.')}. Step {state.step} is saved: continue with --resume"
        ) from error
    except RolloutError as error:
        learner.save(state)
        path = keep(error.rollout, run)
        raise UserError(
            f"step {state.step + 1}: {error}; the completions are in {path}, and step {state.step} is saved: "
            "continue with --resume"
        ) from error


def keep(rollout: list[dict[str, Any]], run: RunFolder) -> Path:
    """Save completions that a reward could not score, for its author to look at."""
    path = run.path / "failed_rollout.jsonl"
    if not run.world.is_main:
        return path
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rollout))
    return path


def switch_dropout(models: Models, on: bool) -> None:
    for model in models.trained().values():
        model.dropout(on)


def evaluation(
    evaluator: Callable[[], dict[str, float]], models: Models, settings: Paced, state: State, run: RunFolder
) -> dict[str, float]:
    """Loss and metrics on the evaluation data, and the bookkeeping of early stopping."""
    switch_dropout(models, False)
    try:
        with models.gathered():
            metrics = evaluator()
    except SamplerError as error:
        raise UserError(
            f"step {state.step}, evaluation: {error}; continue with --resume from the last checkpoint"
        ) from error
    except RolloutError as error:
        raise UserError(
            f"step {state.step}, evaluation: {error}; the completions are in {keep(error.rollout, run)}: "
            "continue with --resume from the last checkpoint"
        ) from error
    if not math.isfinite(metrics["loss"]):
        raise UserError(f"step {state.step}: the loss on the evaluation data is {metrics['loss']}: check that data")
    if metrics["loss"] < state.best_loss:
        state.best_loss, state.best_step, state.evaluations_since_best = metrics["loss"], state.step, 0
        if settings.keeps_best:
            save_best(run, models, state.step)
    else:
        state.evaluations_since_best += 1
    return {f"{EVALUATED}{name}": value for name, value in metrics.items()}


def best_of(state: State) -> dict[str, float]:
    """The state's fields of the best evaluation."""
    return {key: vars(state)[key] for key in ("best_loss", "best_step", "evaluations_since_best")}


def is_due(every: int | None, step: int, last: int | float) -> bool:
    return step == last or (every is not None and step % every == 0)


def out_of_patience(settings: Paced, state: State) -> bool:
    return settings.patience > 0 and state.evaluations_since_best >= settings.patience


_asking: list[Any] = []
"""The handlers of the blocks that are `interruptible` now."""


@contextmanager
def interruptible() -> Iterator[Any]:
    """Finish the current step on the first Ctrl-C (or SIGTERM); stop at once on the second. A block inside another asks
    the other too, so that either can stop."""
    asked = False
    before: dict[int, Any] = {}

    def ask(signum: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        outer = before[signum]
        if outer in _asking:
            outer(signum, frame)

    with suppress(ValueError):  # not the main thread: no signal handlers here
        before |= {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    _asking.append(ask)
    try:
        yield lambda: asked
    finally:
        _asking.remove(ask)
        for s, handler in before.items():
            signal.signal(s, handler)
