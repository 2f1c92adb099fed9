"""Gradient steps of one optimizer on batches of rows."""

import math
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from burnish.algorithms.interface import Algorithm
from burnish.config import Settings
from burnish.data.walk import epoch_order
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.run.shards import gathered
from burnish.run.world import ALONE, World
from burnish.training.checkpoint import Saving
from burnish.training.language.schedule import schedule
from burnish.training.resume import Past, State, parameters_of, save
from burnish.training.step import (
    GRADIENT_NORM,
    NonFiniteLossError,
    gradient,
    mean_metrics,
    microbatches,
    numbers_of,
    prepared,
    tokens_of,
)

LATEST = frozenset({"epoch", "learning_rate", "num_tokens", "rollout", "rows_dropped", "rows_read"})
"""Metrics that say where a run is: a row has their value at its step, of all others the mean."""


@dataclass
class GradientLearner:
    """The gradient steps of a run: minibatches, clipping, schedule, and a checkpoint where a loss is not finite."""

    algorithm: Algorithm
    models: Models
    optimizer: torch.optim.Optimizer
    settings: Settings
    steps: int
    steps_per_epoch: int | None
    run: RunFolder
    past: Past | None = None

    def __post_init__(self) -> None:
        self.dropout = self.algorithm.dropout
        self.rate = schedule(self.optimizer, self.settings, self.steps)
        self.saved: int | None = None
        self.saving: Saving | None = None
        self.learned, self.waited = 0, self.run.world.waited[0]

    def prepare(self, batch: Any, state: State) -> Any:
        cls = type(self.algorithm)
        if (cls.statistics, cls.prepare) == (Algorithm.statistics, Algorithm.prepare):
            return batch
        whole = not self.algorithm.prepares_alone or self.models.borrowed
        with self.models.gathered() if whole else nullcontext():
            (ready,) = prepared(self.algorithm, self.models, [batch], state.algorithm, self.run.world)
        return ready

    def minibatches(self, batch: Any, state: State) -> Iterator[Any]:
        return minibatches(batch, self.settings.batch_size, self.algorithm.passes, self.settings.seed, state.batches)

    def update(self, part: Any, state: State, first: bool) -> dict[str, Any] | None:
        tokens, own = tokens_of(part, self.run.world)  # before the step waits
        try:
            metrics = step(
                self.algorithm,
                self.models,
                part,
                self.optimizer,
                self.rate(state.step),
                self.settings.max_grad_norm,
                self.settings.accumulate,
                self.run.world,
                self.algorithm.watches,
            )
        except NonFiniteLossError as error:
            raise self.explained(error, state, first) from error
        if metrics is None:
            return None
        state.num_tokens += tokens
        self.learned += own
        epoch = {"epoch": round((state.step + 1) / self.steps_per_epoch, 6)} if self.steps_per_epoch else {}
        return epoch | metrics | {"num_tokens": state.num_tokens}

    def explained(self, error: NonFiniteLossError, state: State, first: bool) -> UserError:
        """The error as a sentence. The state is saved where it lies between two batches: from the middle of one no run
        could resume to the same bits."""
        if first:
            self.save(state)
        rows = ", ".join(map(str, error.rows[:10])) + (" …" if len(error.rows) > 10 else "")
        saved = f", and step {state.step} is saved" if first else ""
        return UserError(
            f"step {state.step + 1}: {error.what} on row(s) {rows} of {self.settings.data}; nothing was updated"
            f"{saved}: look at those rows or lower --learning-rate, and start again with another --out"
        )

    def conclude(self, batch: Any, state: State) -> None:
        def final_metrics() -> dict[str, Tensor]:
            parts = list(microbatches(batch, self.settings.accumulate))
            with self.models.gathered():
                found = mean_metrics(self.algorithm, self.models, parts, self.run.world)
            return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}

        state.algorithm = carried_numbers(self.algorithm.conclude(final_metrics, state.algorithm))

    def note(self, metrics: dict[str, Any], state: State) -> None:
        for name, value in metrics.items():
            total, count = state.unlogged.get(name, (0, 0)) if name not in LATEST else (0, 0)
            state.unlogged[name] = [total + value if count else value, count + 1]

    def fetch(self, state: State) -> None:
        """Make numbers of the metrics that were noted and are still on the device, in one transfer."""
        there = {name: total for name, (total, _) in state.unlogged.items() if isinstance(total, Tensor)}
        for name, total in numbers_of(there).items():
            state.unlogged[name][0] = total

    def record(self, state: State) -> dict[str, float]:
        """Means over the updates that have the metric, but the latest value of those that only go on."""
        self.fetch(state)
        found = {name: total / count if count > 1 else total for name, (total, count) in state.unlogged.items()}
        state.unlogged = {}
        return found

    def pace(self, seconds: float) -> dict[str, Any]:
        """Tokens learned from in a second: in all, and by each of several processes, with the share of the time that it
        spent in collectives, waiting for the others and sending."""
        world = self.run.world
        own = self.learned / seconds, (world.waited[0] - self.waited) / seconds
        each, self.learned, self.waited = world.gather(own), 0, world.waited[0]
        rates, waits = ([round(number, 4) for number in numbers] for numbers in zip(*each, strict=True))
        found: dict[str, Any] = {"tokens_per_second": round(sum(rates), 4)}
        return found if world.size == 1 else found | {"by_process": rates, "waiting": waits}

    def save(self, state: State, goes_on: bool = False) -> None:
        before = self.run.world.waited[0]
        self.wait()  # one at a time
        self.fetch(state)
        self.saving = save(self.run, self.models, self.optimizer, state, self.settings.keep_checkpoints, self.past)
        self.saved = state.step
        if not goes_on:
            self.wait()
        self.waited += self.run.world.waited[0] - before  # for the one that writes: no part of the updates' time

    def wait(self) -> None:
        """Wait for a checkpoint that is being written."""
        saving, self.saving = self.saving, None
        if saving is not None:
            saving.wait()

    def save_end(self, state: State) -> None:
        """Write the checkpoint of the run's last step, unless it is there or none are wanted."""
        if self.settings.save_every and self.saved != state.step:
            self.save(state)
        self.wait()


def carried_numbers(carried: dict[str, Any]) -> dict[str, float]:
    """What an algorithm carries to the next rollout, as plain numbers that a checkpoint can hold."""
    return {name: value.item() if isinstance(value, Tensor) else value for name, value in carried.items()}


def minibatches(batch: Any, batch_size: int, passes: int, seed: int, number: int) -> Iterator[Any]:
    """The parts of a batch, one per update: all of it, or in each pass other parts of `batch_size` rows.

    The order is a function of the seed and the batch's `number`.
    """
    if len(batch) <= batch_size:
        yield from (batch for _ in range(passes))
        return
    for one in range(passes):
        order = torch.tensor(epoch_order(len(batch), seed, (number + 1) * 1_000 + one))
        for index in order.split(batch_size):
            yield batch.select(index.to(batch.mask.device))


def step(
    algorithm: Algorithm,
    models: Models,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    max_grad_norm: float = 1.0,
    accumulate: int = 1,
    world: World = ALONE,
    watched: Collection[str] | None = None,
) -> dict[str, Any] | None:
    """One gradient step and its metrics; None, and no step, where the algorithm stops the rollout.

    Each process of the `world` has the whole batch, computes its share and makes the same step. What the step depends
    on leaves the device in one transfer: the loss, the gradient's norm, and the metrics that are `watched`, by default
    all of them, see `gradient`. Raises NonFiniteLossError, before anything moves, where loss or gradient is not finite.
    """
    parameters = parameters_of(optimizer)
    length = cache(lambda: gathered(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])))
    metrics = gradient(algorithm, models, batch, accumulate, world, length, watched)
    norm = metrics.pop(GRADIENT_NORM)
    if not math.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        raise NonFiniteLossError(f"the gradient's norm is {norm}", batch.rows.tolist())
    if algorithm.stops(metrics):
        optimizer.zero_grad(set_to_none=True)
        return None
    if max_grad_norm and norm > max_grad_norm:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, length())
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return metrics | {GRADIENT_NORM: norm, "learning_rate": learning_rate}
