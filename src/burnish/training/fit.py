"""`burnish.fit`: the gradient steps without run folder, data reader or command line, for a loop of one's own."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from burnish.algorithms.interface import Algorithm
from burnish.batches import Drawn
from burnish.policies.interface import Models
from burnish.training.language.learner import carried_numbers, minibatches, step
from burnish.training.step import mean_metrics, microbatches, prepared


def fit(
    models: Models,
    algorithm: Algorithm,
    batches: Iterable[Any],
    *,
    learning_rate: float | Callable[[int], float] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    max_grad_norm: float = 1.0,
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], object] | None = None,
) -> list[dict[str, float]]:
    """Train `models` in place on `batches`, and return the metrics of every optimizer update.

    `batches` are batches (`burnish.batches`) on the models' device, or what an experience draws. Each is prepared as a
    whole and learned from in the algorithm's passes, in minibatches of `batch_size` rows (default: all of it).
    `learning_rate` is a number, a function of the step (from 0), or None for the method's own; the default `optimizer`
    is AdamW over every trained part, without weight decay. `accumulate` splits a minibatch into that many
    micro-batches, with the same result. `on_step(step, metrics)` is called after each update. The metrics that an
    experience gives of a rollout are those of the rollout's first update. A loss that is not finite raises
    `burnish.training.step.NonFiniteLossError` before the weights are touched.
    """
    rate = algorithm.learning_rate if learning_rate is None else learning_rate
    trained = models.trained().values()
    if optimizer is None:
        optimizer = torch.optim.AdamW([p for model in trained for p in model.parameters().values()], weight_decay=0.0)
    history: list[dict[str, float]] = []
    carried: dict[str, float] = {}
    for number, drawn in enumerate(batches):
        for model in trained:
            model.dropout(False)
        batch = drawn.batch if isinstance(drawn, Drawn) else drawn
        (ready,) = prepared(algorithm, models, [batch], carried)
        news = drawn.metrics if isinstance(drawn, Drawn) else {}
        for part in minibatches(ready, batch_size or len(ready), algorithm.passes, seed, number):
            for model in trained:
                model.dropout(algorithm.dropout)
            now = rate(len(history)) if callable(rate) else rate
            metrics = step(algorithm, models, part, optimizer, now, max_grad_norm, accumulate)
            if metrics is None:
                break
            history.append(metrics | news)
            news = {}
            if on_step is not None:
                on_step(len(history), history[-1])
        for model in trained:
            model.dropout(False)

        def final_metrics(ready: Any = ready) -> dict[str, torch.Tensor]:
            found = mean_metrics(algorithm, models, list(microbatches(ready, accumulate)))
            return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}

        carried = carried_numbers(algorithm.conclude(final_metrics, carried))
    return history
