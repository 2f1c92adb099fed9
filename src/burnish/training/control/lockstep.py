"""Gradient steps of many independent runs in lockstep, as one computation.

Every tensor has the runs as its first dimension. The runs' losses are summed, so that each run's parameters get the
gradient of that run alone. Gradient norm, clipping, Adam's step count, early stop and the order of minibatches are also
per run. Run i of a group therefore ends where the same run alone would.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.algorithms.interface import Algorithm
from burnish.algorithms.terms import Loss
from burnish.batches import Prepared, Rows
from burnish.functional import masked_mean
from burnish.policies.interface import Models
from burnish.training.control.optimizer import StackedAdam, StackedSGD
from burnish.training.control.overflow import overflow
from burnish.training.resume import State
from burnish.training.step import objective, prepared

MINIBATCH_STREAM = 2
CARRIED = "carried/"


@dataclass
class LockstepLearner:
    """`passes` of an algorithm's gradient over the single steps of each rollout, for the runs numbered from `first`.

    Each of the models that train, or of these `parts`, has an optimizer of its own, and one backward pass is for all.
    `steps` are `Steps`, or what a learner that is derived from this one takes. A run whose gradient or weights are not
    finite is added to `failed` with the reason, and takes no further part.
    """

    algorithm: Algorithm
    models: Models
    steps: Any
    seeds: Sequence[int]
    first: int = 0
    parts: tuple[str, ...] | None = None
    failed: dict[int, str] = field(default_factory=dict)
    runs: list[int] = field(init=False)
    dropout: bool = False

    def __post_init__(self) -> None:
        self.runs = [self.first + i for i in range(len(self.seeds))]
        self.orders = [np.random.Generator(np.random.PCG64([seed, MINIBATCH_STREAM])) for seed in self.seeds]
        trained = self.models.trained()
        self.trained = {name: trained[name] for name in self.parts or trained}
        self.optimizers = {name: self.optimizer() for name in self.trained}
        self.going = torch.ones(len(self.seeds), dtype=torch.bool)
        self.left: dict[int, int] = {}
        self.carried: dict[str, Tensor] = {}
        self.latest: dict[str, Any] = {}
        self.recorded: dict[str, Any] = {}

    def optimizer(self) -> StackedAdam | StackedSGD:
        """A new optimizer of one model."""
        return StackedAdam(self.steps.adam_eps)

    def prepare(self, batch: Any, state: State) -> Any:
        self.narrow(batch)
        (ready,) = prepared(self.algorithm, self.models, [batch], self.carried)
        return ready

    def minibatches(self, batch: Rows, state: State) -> Iterator[Any]:
        """Single steps, each once per pass. The padding of a run with fewer steps comes last, so that its steps are
        divided into minibatches as if it were alone."""
        loose = single_steps(batch)
        self.going = torch.tensor([run not in self.failed for run in self.runs], device=batch.mask.device)
        counts, size = loose.lengths[:, 0].tolist(), self.steps.batch_size
        for _ in range(self.algorithm.passes):
            if size is None or size >= max(counts):
                yield loose
                continue
            order = np.tile(np.arange(max(counts)), (len(counts), 1))
            for row, stream, count, going in zip(order, self.orders, counts, self.going.tolist(), strict=True):
                if going and count > size:  # else a run alone would not have drawn an order either
                    row[:count] = stream.permutation(count)
            for index in torch.from_numpy(order).to(batch.mask.device).split(size, dim=1):
                yield pick(loose, index)

    def narrow(self, batch: Any) -> None:
        """Forget the runs that are no longer in the batch."""
        remaining = batch.runs.tolist()
        if remaining != self.runs:
            index = [self.runs.index(run) for run in remaining]
            kept = torch.tensor(index, device=batch.mask.device)
            self.left = self.updates
            for optimizer in self.optimizers.values():
                optimizer.keep(kept)
            self.orders, self.runs = [self.orders[i] for i in index], remaining
            self.carried = {name: value[kept] for name, value in self.carried.items()}

    def named(self, run: int) -> dict[str, Tensor]:
        """What the next update of the run with this number would depend on, for saving."""
        at = self.runs.index(run)
        each = {part: optimizer.named(at) for part, optimizer in self.optimizers.items()}
        own = {f"optimizer/{part}/{name}": x for part, named in each.items() for name, x in named.items()}
        return own | {f"{CARRIED}{name}": value[at].clone() for name, value in self.carried.items()}

    @torch.no_grad()
    def load_named(self, saved: Sequence[Mapping[str, Tensor]]) -> None:
        """Load what `named` gave, one per run."""
        for part, optimizer in self.optimizers.items():
            prefix, (theta,) = f"optimizer/{part}/", self.trained[part].parameters().values()
            optimizer.load_named(theta, [below(prefix, own) for own in saved])
        carried = [below(CARRIED, own) for own in saved]
        self.carried = {name: torch.stack([own[name] for own in carried]) for name in carried[0]}

    @property
    def updates(self) -> dict[int, int]:
        """The updates that each run has made, by its number, also of those that have left."""
        counts = next(iter(self.optimizers.values())).counts or [0] * len(self.runs)
        return self.left | dict(zip(self.runs, counts, strict=True))

    def update(self, part: Any, state: State, first: bool) -> dict[str, Any] | None:
        if not self.going.any():
            return None
        loss = self.algorithm.loss(self.models, part)
        metrics = metric_means(loss, part)
        stops = self.algorithm.stops(metrics)
        if stops is not False:
            self.going = self.going & ~torch.as_tensor(stops, device=self.going.device)
            if not self.going.any():
                return None
        return metrics | self.descend(loss, part)

    @torch.no_grad()
    def conclude(self, batch: Any, state: State) -> None:
        """Let the algorithm adapt what it carries to the next rollout, one number per run."""

        def final_metrics() -> dict[str, Tensor]:
            return metric_means(self.algorithm.loss(self.models, batch), batch)

        self.carried = self.algorithm.conclude(final_metrics, self.carried)
        self.check()

    def check(self) -> None:
        """Note the runs whose weights are not finite any more."""
        for name, model in self.models.trained().items():
            (theta,) = model.parameters().values()
            for r in (~torch.isfinite(theta).all(-1)).nonzero().flatten().tolist():
                reason = f"the {name}'s weights overflow {str(theta.dtype).removeprefix('torch.')}"
                self.fail(r, f"{reason}: lower the learning rate")

    def fail(self, r: int, reason: str) -> None:
        """The run at position r cannot go on."""
        run = self.runs[r]
        self.failed.setdefault(run, f"after {self.updates[run]:,} updates, {reason}")

    def pace(self, seconds: float) -> dict[str, Any]:
        """Nothing: a run's steps are not counted by the time."""
        return {}

    def save(self, state: State, goes_on: bool = False) -> None:
        """Nothing: environments cannot be saved, so an interrupted group of runs starts again."""

    def note(self, metrics: dict[str, Any], state: State) -> None:
        self.latest |= metrics

    def record(self, state: State) -> dict[str, float]:
        """Means over the runs that go on, of the latest update and rollout alone: those of all would cost time."""
        self.recorded, self.latest = self.latest, {}
        found = self.recorded
        if self.failed:
            on = [i for i, run in enumerate(self.runs) if run not in self.failed]
            going = {name: x[on] if isinstance(x, Tensor) else x for name, x in found.items()}
            found = {name: x for name, x in going.items() if on or not isinstance(x, Tensor)}
        return {
            name: value.double().mean().item() if isinstance(value, Tensor) else value for name, value in found.items()
        }

    def recorded_by_run(self) -> dict[int, dict[str, float]]:
        """The metrics of each run, by its number, which the last record has the means of."""
        own = {name: value.tolist() for name, value in self.recorded.items() if isinstance(value, Tensor)}
        going = {i: run for i, run in enumerate(self.runs) if run not in self.failed}
        return {run: {name: values[i] for name, values in own.items()} for i, run in going.items()}

    def descend(self, loss: Loss, part: Any) -> dict[str, Tensor]:
        """One step of every run that is going; one whose gradient is not finite fails, and its weights stay."""
        losses = objective(loss, part.counts())
        thetas = {name: next(iter(model.parameters().values())) for name, model in self.trained.items()}
        gradients = torch.autograd.grad(losses.sum(), list(thetas.values()))
        norms = torch.stack([g.square().sum(-1) for g in gradients]).sum(0).sqrt()
        going = self.going & part.mask.any(-1).any(-1)  # a run with fewer steps than another has fewer minibatches
        if (broken := going & ~torch.isfinite(norms)).any():
            last = "the gradient's norm" if "policy" in self.trained else "the norm of the critic's gradient"
            for r in broken.nonzero().flatten().tolist():
                self.fail(r, overflow(r, loss, part, thetas, last))
            self.going, going = self.going & ~broken, going & ~broken
        limit, rate = self.steps.max_grad_norm, self.rates(part, going)
        scale = (limit / (norms + 1e-6)).clamp(max=1.0)[:, None] if limit else None
        for (name, theta), gradient in zip(thetas.items(), gradients, strict=True):
            self.optimizers[name].step(theta, gradient if scale is None else gradient * scale, going, rate)
        return {"loss": losses.detach(), "grad_norm": norms}

    def rates(self, part: Any, going: Tensor) -> float | Tensor:
        """The learning rate of each run in this update, `[R, 1]`, or of all."""
        return self.steps.rates(part.batch if isinstance(part, Prepared) else part)


def metric_means(loss: Loss, batch: Rows) -> dict[str, Tensor]:
    """The metrics of each run, `[R]`: means over its real steps `[R, B, T]` or rows `[R, B]`; `[R]` stays."""

    def mean(values: Tensor) -> Tensor:
        if values.dim() == 3:
            return masked_mean(values, batch.mask, (-2, -1))
        return masked_mean(values, batch.mask.any(-1), -1) if values.dim() == 2 else values

    return {name: mean(values) for name, values in loss.metrics.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with this, without it."""
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}


def single_steps(batch: Rows) -> Any:
    """The steps of each run in one row `[R, 1, N]`, real ones first; N is the largest number of steps of a run.

    Rows served to compute returns and advantages; from here on a step is a step, as in the literature.
    """
    mask = batch.mask.flatten(1)
    width = int(mask.sum(1).max())
    return pick(batch, torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)[:, :width])


def pick(batch: Rows, index: Tensor) -> Any:
    """These steps `[R, n]` of each run, counted through its rows, in one row `[R, 1, n]`; no final observations."""
    runs, count = batch.mask.flatten(1).shape
    # One index for all: it takes a third of the time that an index for each of two dimensions does.
    where = (index + count * torch.arange(runs, device=index.device)[:, None]).flatten()
    steps = {name: getattr(batch, name)[:, :, : batch.mask.shape[-1]] for name in stepwise(batch)}
    flat = {name: value.flatten(0, 2).index_select(0, where) for name, value in steps.items()}
    picked = {name: flat[name].view(runs, 1, -1, *value.shape[3:]) for name, value in steps.items()}
    if isinstance(batch, Prepared):
        return replace(batch, batch=pick(batch.batch, index), **picked)  # type: ignore[type-var]
    return replace(batch, **picked, lengths=picked["mask"].sum(-1), rows=batch.rows[:1])  # type: ignore[type-var]


def stepwise(part: Any) -> list[str]:
    """The fields of a batch that hold something for every step: three dimensions at least."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    return [name for name, value in values.items() if isinstance(value, Tensor) and value.dim() >= 3]
