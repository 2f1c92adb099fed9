"""What the study of AI feedback compares: shares of a judge's labels, and its sizes."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """Sizes of the study.

    A label of the judge costs `price` labels of people. For each of the `shares`, the labels, so many of them the
    judge's, cost `budget` labels of people. `members` reward models learn from them in `epochs` passes of batches of
    `batch_size`, and are measured on `held_out` comparisons, or on all. The judge is asked about `chunk` pairs at a
    time by the `principle`.
    """

    seeds: int = 3
    model: str = "builtin"
    judge: str = "smollm2"
    principle: str = "Which of these two film reviews likes the film more?"
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    price: float = 0.1
    budget: int = 200
    held_out: int | None = None
    members: int = 3
    chunk: int = 64
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 3e-4
    max_length: int = 128

    def labels(self, share: float) -> tuple[int, int]:
        """How many labels of people and of the judge have this share and the cost: as many as cost no more, the judge's
        rounded up."""
        every = math.floor(self.budget / (1 - share + share * self.price) + 1e-9)
        judged = math.ceil(share * every - 1e-9)
        return every - judged, judged

    def cost(self, people: int, judged: int) -> float:
        """What so many labels cost, in labels of people."""
        return people + judged * self.price


FULL = Plan()
QUICK = replace(FULL, seeds=2, budget=4, held_out=64, members=1, chunk=16, epochs=1)
"""Shows that everything works, not how well."""


def plan_for(quick: bool, seeds: int | None, judge: str | None) -> Plan:
    """The plan of these flags, with so many seeds and this judge."""
    plan = QUICK if quick else FULL
    plan = plan if seeds is None else replace(plan, seeds=seeds)
    return plan if judge is None else replace(plan, judge=judge)
