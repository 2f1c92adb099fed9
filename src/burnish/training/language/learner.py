"""How a batch becomes updates: the part of the loop that runs in lockstep and a trust region do in their own way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import get_scheduler

from burnish.algorithms.ppo import adapted
from burnish.algorithms.table import ALGORITHMS, name_of
from burnish.config import Settings
from burnish.data.walk import epoch_order
from burnish.policies.interface import Models
from burnish.run import RunFolder, UserError
from burnish.training.resume import State, save
from burnish.training.step import NonFiniteLossError, evaluate, gradient, microbatches


@runtime_checkable
class Learner(Protocol):
    """What the loop does with a prepared batch; `dropout` says whether it may be on in an update."""

    dropout: bool

    def minibatches(self, batch: Any, state: State) -> Iterator[Any]:
        """The parts of the batch that an update each learns from."""
        ...

    def update(self, part: Any, state: State, between: bool) -> dict[str, Any] | None:
        """One update and its metrics; None, and no update, where the rest of the turn is to be left out. `between` says
        whether this is a turn's first. Raises UserError where there is nothing finite to learn."""
        ...

    def conclude(self, batch: Any, state: State) -> None:
        """What a turn leaves for the next one to go by."""
        ...

    def record(self, metrics: dict[str, Any]) -> dict[str, float]:
        """An update's metrics as a line for metrics.jsonl."""
        ...

    def save(self, state: State) -> None:
        """Write a checkpoint."""
        ...


@dataclass
class GradientLearner:
    """Gradient steps of one optimizer on batches of rows."""

    algorithm: Any
    models: Models
    optimizer: torch.optim.Optimizer
    settings: Settings
    steps: int
    steps_per_epoch: int
    run: RunFolder

    def __post_init__(self) -> None:
        self.dropout = ALGORITHMS[name_of(self.algorithm)].dropout
        self.rate = schedule(self.optimizer, self.settings, self.steps)

    def minibatches(self, batch: Any, state: State) -> Iterator[Any]:
        parts = minibatches(self.algorithm, batch, self.settings, state)
        if (price := self.price(state)) is None:
            return parts
        return (replace(part, kl_penalty=torch.tensor(price, device=part.mask.device)) for part in parts)

    def price(self, state: State) -> float | None:
        """The price of KL that an adaptive penalty has come to; None for algorithms without one."""
        if getattr(self.algorithm, "kl_penalty_target", None) is None:
            return None
        return state.algorithm.get("kl_penalty", self.algorithm.kl_penalty)

    def update(self, part: Any, state: State, between: bool) -> dict[str, Any] | None:
        rate = self.rate(state.step)
        metrics = update(
            self.algorithm, self.models, part, self.optimizer, self.settings, rate, self.run, state, between
        )
        if metrics is None:
            return None
        state.num_tokens += int(part.lengths.sum())
        return {"epoch": round((state.step + 1) / self.steps_per_epoch, 6)} | metrics | {"num_tokens": state.num_tokens}

    def conclude(self, batch: Any, state: State) -> None:
        if (price := self.price(state)) is not None:
            told = evaluate(self.algorithm, self.models, list(microbatches(batch, self.settings.accumulate)), True)
            kl = torch.tensor(told["policy/kl_avg"], dtype=torch.float64)
            target = self.algorithm.kl_penalty_target
            state.algorithm["kl_penalty"] = adapted(torch.tensor(price, dtype=torch.float64), kl, target).item()

    def record(self, metrics: dict[str, Any]) -> dict[str, float]:
        return metrics

    def save(self, state: State) -> None:
        save(self.run, self.models, self.optimizer, state)


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


def schedule(optimizer: torch.optim.Optimizer, settings: Settings, steps: int) -> Any:
    """The learning rate of each step (from 0), as a pure function."""
    share = settings.warmup if settings.warmup >= 1 else settings.warmup * steps
    warmup = math.ceil(round(share, 6))  # 7 % of 100 steps are 7.000000000000001 in floating point, and 7 in fact
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    factor = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps).lr_lambdas[0]
    # Step 0 of a warm-up has rate 0 there: shifted by one, so that no update is spent on nothing.
    return lambda step: settings.learning_rate * factor(step + 1 if step + 1 <= warmup else step)
