"""Steps of Q-learning: a rate for every cell of a table, by how often it was visited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from burnish.options import check, option
from burnish.training.control.optimizer import StackedSGD, scheduled
from burnish.training.control.rows import RowLearner

VISITS = "visits"


@dataclass(frozen=True)
class TableSteps:
    """How far a visited cell moves to its target.

    α_k(s, a) = learning_rate · k^(−visit_decay) at the k-th visit of a in s

    Even-Dar & Mansour (2003), "Learning Rates for Q-learning": 1/k, visit_decay 1, converges slowly where gamma is near
    1, and exponents between ½ and 1 faster; 0 keeps the rate, and values then go on varying with the rewards.
    """

    batch_size: ClassVar[int | None] = None
    max_grad_norm: ClassVar[float] = 0.0

    learning_rate: float = option(0.1, "share of the error that a visited value moves by", gt=0, le=1)
    schedule: Literal["constant", "linear"] = option(
        "constant", "learning rate over a run's episodes; linear: down to 0"
    )
    visit_decay: float = option(0.0, "the rate of a value's k-th visit is divided by k to this power", ge=0, le=1)

    def __post_init__(self) -> None:
        check(self)


class TabularLearner(RowLearner):
    """One step of every run's table, in the cell that it visited."""

    visits: Tensor | None = None

    def optimizer(self) -> StackedSGD:
        return StackedSGD()

    def rates(self, part: Any, going: Tensor) -> float | Tensor:
        """The rate of each run's cell, `[R, 1]`, by its visits with this one."""
        rate = scheduled(self.steps.learning_rate, self.steps.schedule, part.progress)
        if self.visits is None:
            (theta,) = self.models.policy.parameters().values()
            self.visits = torch.zeros_like(theta, requires_grad=False)
        cells = self.models.policy.cells(part.observations, part.actions)
        self.visits.scatter_add_(1, cells, going[:, None].to(self.visits.dtype))
        return rate * self.visits.gather(1, cells).clamp(min=1) ** -self.steps.visit_decay

    def narrow(self, batch: Any) -> None:
        remaining = batch.runs.tolist()
        if self.visits is not None and remaining != self.runs:
            self.visits = self.visits[[self.runs.index(run) for run in remaining]]
        super().narrow(batch)

    def named(self, run: int) -> dict[str, Tensor]:
        own = {} if self.visits is None else {VISITS: self.visits[self.runs.index(run)].clone()}
        return super().named(run) | own

    def load_named(self, saved: Sequence[Mapping[str, Tensor]]) -> None:
        super().load_named(saved)
        if any(VISITS in own for own in saved):
            (theta,) = self.models.policy.parameters().values()
            empty = torch.zeros_like(theta[0], requires_grad=False)
            self.visits = torch.stack([own.get(VISITS, empty) for own in saved])
