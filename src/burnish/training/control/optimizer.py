"""Optimizers of many runs in lockstep, each run with its own state, and the options that they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.options import check, option


@dataclass(frozen=True)
class Steps:
    """How the parameters of a run of control are optimised (Adam)."""

    learning_rate: float = option(1e-3, "Adam's learning rate at the start", gt=0, most=10**38)
    schedule: Literal["constant", "linear"] = option(
        "constant", "learning rate over a run's episodes; linear: down to 0"
    )
    batch_size: int | None = option(None, "steps per update; none: the whole rollout", ge=1)
    max_grad_norm: float = option(0.5, "clip the gradient norm to this; 0 disables clipping", ge=0)
    adam_eps: float = option(1e-5, "Adam's epsilon", gt=0)

    def __post_init__(self) -> None:
        check(self)

    def rates(self, batch: Any) -> float | Tensor:
        """The learning rate of each run, `[R, 1]`, or of all."""
        return scheduled(self.learning_rate, self.schedule, batch.progress)


def scheduled(rate: float, schedule: str, progress: Tensor) -> float | Tensor:
    """A rate after the share `progress` `[R]` of each run: the same for all, or `[R, 1]`, falling to 0 at the end."""
    return rate if schedule == "constant" else rate * (1 - progress.clamp(max=1.0))[:, None]


class StackedAdam:
    """Adam for parameters `[R, n]` of R runs, each with its own step count.

    m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  θ ← θ − rate · (m / (1 − β₁ᵏ)) / (√(v / (1 − β₂ᵏ)) + ε)

    Kingma & Ba (2015), "Adam", algorithm 1. `torch.optim.Adam` is the same for one run; it has one count k per
    tensor, but a run that has stopped must not continue to count.
    """

    def __init__(self, eps: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.eps, self.betas = eps, betas
        self.moments: Tensor | None = None
        self.squares: Tensor | None = None
        self.counts: list[int] = []

    @torch.no_grad()
    def step(self, theta: Tensor, gradient: Tensor, going: Tensor, rate: float | Tensor) -> None:
        """Update the parameters of the runs that are `going`, in place; `rate` is a number or `[R, 1]`."""
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
        """The equations, in place. Equal counts are one number, which is faster than one per run."""
        first, second = self.betas
        k = counts[0] if len(set(counts)) == 1 else theta.new_tensor(counts)[:, None]
        moments.lerp_(gradient, 1 - first)
        squares.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (squares / (1 - second**k)).sqrt_().add_(self.eps)
        theta.addcdiv_(moments * (-rate / (1 - first**k)), scale)

    def named(self, run: int) -> dict[str, Tensor]:
        """A copy of the state of the run at this position, for saving; nothing before the first step."""
        if self.moments is None or self.squares is None:
            return {}
        count = torch.tensor(self.counts[run], dtype=torch.int64)
        return {"moments": self.moments[run].clone(), "squares": self.squares[run].clone(), "count": count}

    def load_named(self, theta: Tensor, saved: Sequence[Mapping[str, Tensor]]) -> None:
        """Load states in the format of `named`, one per run."""
        self.moments, self.squares = torch.zeros_like(theta), torch.zeros_like(theta)
        self.counts = [0] * len(saved)
        for run, own in enumerate(saved):
            if own:
                self.moments[run], self.squares[run] = own["moments"], own["squares"]
                self.counts[run] = int(own["count"])

    def keep(self, index: Tensor) -> None:
        """Keep only these runs."""
        if self.moments is not None and self.squares is not None:
            self.moments, self.squares = self.moments[index], self.squares[index]
            self.counts = [self.counts[i] for i in index.tolist()]


class StackedSGD:
    """Plain gradient steps of parameters `[R, n]` of R runs, which counts each run's.

    θ ← θ − rate · g
    """

    def __init__(self) -> None:
        self.counts: list[int] = []

    @torch.no_grad()
    def step(self, theta: Tensor, gradient: Tensor, going: Tensor, rate: float | Tensor) -> None:
        """Update the parameters of the runs that are `going`, in place; `rate` is a number or `[R, 1]`."""
        counts = self.counts or [0] * len(theta)
        self.counts = [count + move for count, move in zip(counts, going.tolist(), strict=True)]
        theta.sub_(torch.where(going[:, None], rate * gradient, 0.0))

    def named(self, run: int) -> dict[str, Tensor]:
        """The number of steps of the run at this position, for saving; nothing before the first."""
        return {"count": torch.tensor(self.counts[run], dtype=torch.int64)} if self.counts else {}

    def load_named(self, theta: Tensor, saved: Sequence[Mapping[str, Tensor]]) -> None:
        """Load states in the format of `named`, one per run."""
        self.counts = [int(own["count"]) if own else 0 for own in saved]

    def keep(self, index: Tensor) -> None:
        """Keep only these runs."""
        self.counts = [self.counts[i] for i in index.tolist()] if self.counts else []
