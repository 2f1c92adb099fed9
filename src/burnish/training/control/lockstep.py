"""Gradient steps of many runs in lockstep: one computation, in which each run goes its own way.

Every tensor has the runs as its first dimension. The runs' losses are summed, so that the gradient of each run's
parameters is that run's own; norm, clipping, Adam with its count of steps, early stop and the order of minibatches are
its own as well. Run i of a group therefore ends where the same run alone would.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from burnish.algorithms.ppo import adapted
from burnish.algorithms.terms import Loss
from burnish.batches import Episodes
from burnish.functional import masked_mean
from burnish.policies.interface import Models
from burnish.run import UserError
from burnish.training.resume import State
from burnish.training.step import objective

MINIBATCH_STREAM = 2


def knob(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Steps:
    """How the parameters of a run of control descend."""

    learning_rate: float = knob(1e-3, "Adam's learning rate, where it begins")
    schedule: Literal["constant", "linear"] = knob("constant", "learning rate over a run's episodes; linear: down to 0")
    batch_size: int | None = knob(None, "steps of one update; none: all of a rollout")
    max_grad_norm: float = knob(0.5, "clip the gradient's norm to this; 0 does not clip")
    adam_eps: float = knob(1e-5, "Adam's epsilon")

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}: leave it out for whole rollouts")
        if not self.max_grad_norm >= 0:
            raise ValueError(f"max_grad_norm must not be negative, as {self.max_grad_norm} is")
        if not self.adam_eps > 0:
            raise ValueError(f"adam_eps must be above 0, not {self.adam_eps}")

    def rates(self, batch: Episodes) -> float | Tensor:
        """The learning rate of each run, `[R, 1]`, or of all."""
        if self.schedule == "constant" or batch.progress is None:
            return self.learning_rate
        return self.learning_rate * (1 - batch.progress.clamp(max=1.0))[:, None]


class StackedAdam:
    """Adam for parameters `[R, n]` of R runs, each with its own count of steps.

    m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  θ ← θ − rate · (m / (1 − β₁ᵏ)) / (√(v / (1 − β₂ᵏ)) + ε)

    Kingma & Ba (2015), "Adam", algorithm 1. `torch.optim.Adam` is the same for one run; it has one count k for a
    tensor, where a run that has stopped must not count on.
    """

    def __init__(self, eps: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.eps, self.betas = eps, betas
        self.moments: Tensor | None = None
        self.squares: Tensor | None = None
        self.counts: list[int] = []

    @torch.no_grad()
    def step(self, theta: Tensor, gradient: Tensor, going: Tensor, rate: float | Tensor) -> None:
        """Move the parameters of the runs that are `going`, in place; `rate` is one for all or `[R, 1]`."""
        if self.moments is None or self.squares is None:
            self.moments, self.squares, self.counts = torch.zeros_like(theta), torch.zeros_like(theta), [0] * len(theta)
        moves = going.tolist()
        self.counts = [count + move for count, move in zip(self.counts, moves, strict=True)]
        if all(moves):
            self._move(theta, self.moments, self.squares, gradient, self.counts, rate)
            return
        counts = [count for count, move in zip(self.counts, moves, strict=True) if move]
        rate = rate[going] if isinstance(rate, Tensor) else rate
        moved, moments, squares = theta[going], self.moments[going], self.squares[going]
        self._move(moved, moments, squares, gradient[going], counts, rate)
        theta[going], self.moments[going], self.squares[going] = moved, moments, squares

    def _move(
        self, theta: Tensor, moments: Tensor, squares: Tensor, gradient: Tensor, counts: list[int], rate: float | Tensor
    ) -> None:
        """The equations, in place. Counts that are all one are a number, which is quicker than a number for each."""
        first, second = self.betas
        k = counts[0] if len(set(counts)) == 1 else theta.new_tensor(counts)[:, None]
        moments.lerp_(gradient, 1 - first)
        squares.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (squares / (1 - second**k)).sqrt_().add_(self.eps)
        theta.addcdiv_(moments * (-rate / (1 - first**k)), scale)

    def keep(self, index: Tensor) -> None:
        """Go on with these runs alone."""
        if self.moments is not None and self.squares is not None:
            self.moments, self.squares = self.moments[index], self.squares[index]
            self.counts = [self.counts[i] for i in index.tolist()]


@dataclass
class LockstepLearner:
    """`update_epochs` passes of an algorithm's gradient over the loose steps of each rollout, of the runs numbered from
    `first`."""

    algorithm: Any
    models: Models
    steps: Steps
    seeds: Sequence[int]
    first: int = 0
    parts: tuple[str, ...] = ("policy", "critic")
    runs: list[int] = field(init=False)
    dropout: bool = False

    def __post_init__(self) -> None:
        self.runs = [self.first + i for i in range(len(self.seeds))]
        self.orders = [np.random.Generator(np.random.PCG64([seed, MINIBATCH_STREAM])) for seed in self.seeds]
        self.trained = {name: model for name, model in self.models.trained().items() if name in self.parts}
        self.adams = {name: StackedAdam(self.steps.adam_eps) for name in self.trained}
        self.going = torch.ones(len(self.seeds), dtype=torch.bool)
        self.price: Tensor | None = None

    def minibatches(self, batch: Episodes, state: State) -> Iterator[Episodes]:
        """Loose steps, each once an epoch. What fills up a run that has fewer than another comes last, so that its
        steps fall to minibatches as if it were alone."""
        self.narrow(batch)
        loose = replace(loose_steps(batch), kl_penalty=self.price)
        self.going = torch.ones(len(self.runs), dtype=torch.bool, device=batch.mask.device)
        counts, size = loose.lengths[:, 0].tolist(), self.steps.batch_size
        for _ in range(getattr(self.algorithm, "update_epochs", 1)):
            if size is None or size >= max(counts):
                yield loose
                continue
            order = np.tile(np.arange(max(counts)), (len(counts), 1))
            for row, stream, count, going in zip(order, self.orders, counts, self.going.tolist(), strict=True):
                if going and count > size:  # else a run alone would not have drawn an order either
                    row[:count] = stream.permutation(count)
            for index in torch.from_numpy(order).to(batch.mask.device).split(size, dim=1):
                yield pick(loose, index)

    def narrow(self, batch: Episodes) -> None:
        """Forget the runs that are no longer in the batch."""
        assert batch.runs is not None
        remaining = batch.runs.tolist()
        if remaining != self.runs:
            index = [self.runs.index(run) for run in remaining]
            kept = torch.tensor(index, device=batch.mask.device)
            for adam in self.adams.values():
                adam.keep(kept)
            self.orders, self.runs = [self.orders[i] for i in index], remaining
            self.price = None if self.price is None else self.price[kept]

    def update(self, part: Episodes, state: State, between: bool) -> dict[str, Any] | None:
        loss = self.algorithm.loss(self.models, part)
        stop_kl = getattr(self.algorithm, "stop_kl", None)
        metrics = measure(loss, part)
        if stop_kl is not None:
            self.going = self.going & ~(metrics["policy/approxkl_avg"] > stop_kl)
            if not self.going.any():
                return None
        return metrics | self.descend(loss, part)

    @torch.no_grad()
    def conclude(self, batch: Episodes, state: State) -> None:
        """Adapt each run's price of KL, where the algorithm has one that adapts."""
        if (target := getattr(self.algorithm, "kl_penalty_target", None)) is not None:
            kl = measure(self.algorithm.loss(self.models, batch), batch)["policy/kl_avg"]
            price = torch.full_like(kl, self.algorithm.kl_penalty) if self.price is None else self.price
            self.price = adapted(price, kl, target)

    def save(self, state: State) -> None:
        """Nothing: environments cannot be written down, so a group of runs that was stopped begins anew."""

    def record(self, metrics: dict[str, Any]) -> dict[str, float]:
        """Means over the runs that still run."""
        return {name: value.double().mean().item() for name, value in metrics.items()}

    def descend(self, loss: Loss, part: Episodes) -> dict[str, Tensor]:
        """One step of every run that is going. Raises UserError, before anything moves, where a run's is not finite."""
        losses = objective(loss, denominators(part))
        thetas = {name: next(iter(model.parameters().values())) for name, model in self.trained.items()}
        gradients = torch.autograd.grad(losses.sum(), list(thetas.values()))
        norms = torch.stack([g.square().sum(-1) for g in gradients]).sum(0).sqrt()
        going = self.going & part.mask.any(-1).any(-1)  # a run with fewer steps than another has fewer minibatches
        if (amiss := going & ~torch.isfinite(norms)).any():
            worst = int(amiss.nonzero()[0])
            told = f"the gradient's norm is {norms[worst].item()}, and nothing was updated"
            if "policy" not in self.trained:  # whose own step comes before the critic's regression
                told = f"the norm of the critic's gradient is {norms[worst].item()}, after the policy's step"
            raise UserError(f"run {self.runs[worst]}: {told}: lower the learning rate")
        limit, rate = self.steps.max_grad_norm, self.steps.rates(part)
        scale = (limit / (norms + 1e-6)).clamp(max=1.0)[:, None] if limit else None
        for (name, theta), gradient in zip(thetas.items(), gradients, strict=True):
            self.adams[name].step(theta, gradient if scale is None else gradient * scale, going, rate)
        return {"loss": losses.detach(), "grad_norm": norms}


def denominators(batch: Episodes) -> dict[str, Tensor]:
    """Of each run: its real steps, and its rows with one."""
    rows = batch.mask.any(-1).sum(-1)
    return {"token": batch.mask.sum((-2, -1)), "sequence": rows, "row": rows}


def measure(loss: Loss, batch: Episodes) -> dict[str, Tensor]:
    """The metrics of each run, `[R]`: means over its real steps."""
    return {name: masked_mean(values, batch.mask, (-2, -1)) for name, values in loss.metrics.items()}


def loose_steps(batch: Episodes) -> Episodes:
    """The steps of each run in one row `[R, 1, N]`, real ones first; N is the most that a run has.

    Rows served to compute returns and advantages; from here on a step is a step, as in the literature.
    """
    assert batch.observations is not None
    mask = batch.mask.flatten(1)
    width = int(mask.sum(1).max())
    order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)[:, :width]
    flat = replace(batch, observations=batch.observations[:, :, : batch.mask.shape[-1]])
    return pick(flat, order)


def pick(batch: Episodes, index: Tensor) -> Episodes:
    """These steps `[R, n]` of each run, counted through its rows, in one row `[R, 1, n]`."""
    runs, count = batch.mask.flatten(1).shape
    # One index for all: it takes a third of the time that an index for each of two dimensions does.
    where = (index + count * torch.arange(runs, device=index.device)[:, None]).flatten()
    picked = {}
    for name in present(batch):
        values = getattr(batch, name)
        chosen = values.flatten(0, 2).index_select(0, where)
        picked[name] = chosen.view(runs, 1, -1, *values.shape[3:])
    return replace(batch, **picked, lengths=picked["mask"].sum(-1), rows=batch.rows[:1])


def present(batch: Episodes) -> list[str]:
    """The fields that hold something of every step."""
    names = ("mask", "old_logprobs", "rewards", "discounts", "old_values", "advantages", "returns")
    return [n for n in (*names, "observations", "actions") if getattr(batch, n) is not None]
