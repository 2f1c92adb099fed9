"""What the study of selections compares: its orders, and its sizes."""

from dataclasses import dataclass, replace

from burnish.recipes.label.selected import RANDOM_SHARE

RANDOM, DISAGREEMENT, RENEWED = "random", "disagreement", "renewed"
ORDERS = {RANDOM: "Random", DISAGREEMENT: "Disagreement", RENEWED: "Disagreement, renewed"}
"""In which order the pairs of the pool are labelled; the renewed one is selected again after each number of labels."""


@dataclass(frozen=True)
class Plan:
    """Sizes of the study.

    Of the built-in comparisons the first `pool` in a random order, all if it is None, are the pool. `members` reward
    models learn from its first `first` labels in `epochs` passes of batches of `batch_size`, and from as many as
    `labels` says in each order; a share of places is random where the models select. They are measured on `held_out`
    comparisons, or on all.
    """

    seeds: int = 5
    model: str = "builtin"
    pool: int | None = None
    held_out: int | None = None
    members: int = 3
    first: int = 128
    labels: tuple[int, ...] = (256, 512, 1024)
    random_share: float = RANDOM_SHARE
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 3e-4
    max_length: int = 128


FULL = Plan()
QUICK = replace(FULL, seeds=2, pool=96, held_out=64, members=2, first=32, labels=(64,), epochs=1)
"""Shows that everything works, not how well."""


def plan_for(quick: bool, seeds: int | None) -> Plan:
    """The plan of these flags, with so many seeds."""
    plan = QUICK if quick else FULL
    return plan if seeds is None else replace(plan, seeds=seeds)
