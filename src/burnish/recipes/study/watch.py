"""What is seen of a training while it runs: measurements, time and tokens, and the step at which it diverges."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from burnish.evaluation.reward_models import NotFiniteScoreError
from burnish.policies.interface import Models
from burnish.policies.language.slots import NotFiniteError
from burnish.recipes.study.cell import Found
from burnish.recipes.study.measure import DivergedError, Ruler
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.run import UserError
from burnish.training.step import NonFiniteLossError


@dataclass
class Watch:
    """What is seen of a training: measurements on the way, and time and tokens without those of measuring.

    `each` is the number of completions of a rollout, 0 for a method that samples none.
    """

    ruler: Ruler
    every: int
    each: int
    points: list[Found] = field(default_factory=list)
    at: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    sampled: float = 0.0
    learned: float = 0.0
    policy: Any = None
    began: tuple[float, float] = (0.0, 0.0)

    def begin(self, models: Models) -> None:
        """Called with the models before they learn."""
        self.policy = models.main
        self.began = time.process_time(), time.perf_counter()

    def step(self, step: int, metrics: Found) -> None:
        """Called after each update; the first of a rollout has the rollout's numbers."""
        self.seconds += time.process_time() - self.began[0]
        self.wall += time.perf_counter() - self.began[1]
        self.at, self.learned = step, metrics["num_tokens"]
        self.sampled += metrics.get("objective/length", 0.0) * self.each
        if step % self.every == 0:
            spent = {"step": step, "seconds": self.seconds, "sampled": self.sampled, "learned": self.learned}
            self.points.append(spent | self.ruler.measured(self.policy))
        self.began = time.process_time(), time.perf_counter()


def watched(watch: Watch, algorithm: Any, settings: Any) -> Found:
    """Train; the points that were measured on the way, what it cost, and the step at which it diverged, or None.

    Where it diverges, what was measured before is kept. Raises UserError for any other mistake.
    """
    diverged = divergence(
        lambda: run_training(algorithm, settings, Given(on_step=watch.step), watch.begin), lambda: watch.at
    )
    spent = {"seconds": watch.seconds, "wall": watch.wall, "sampled": watch.sampled, "learned": watch.learned}
    return {"points": watch.points, "diverged": diverged} | spent


def divergence(train: Callable[[], object], done: Callable[[], int]) -> int | None:
    """Train; the step at which it diverged, or None. `done` says which update was the last whole one.

    Raises UserError for any other mistake.
    """
    try:
        train()
    except UserError as error:
        step = diverged_at(error, done())
        if step is None:
            raise
        return step
    return None


def diverged_at(error: UserError, done: int) -> int | None:
    """The step at which a training diverged whose last whole update was `done`; None for any other mistake.

    Where a loss is not finite, or nothing can be sampled to learn from, it is the next step; where what is there cannot
    be measured, or scores nothing, the last one.
    """
    if isinstance(error.__cause__, DivergedError | NotFiniteError) or isinstance(error, NotFiniteScoreError):
        return done
    return done + 1 if isinstance(error.__cause__, NonFiniteLossError) or isinstance(error, NotFiniteError) else None
