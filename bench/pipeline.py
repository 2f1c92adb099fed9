"""Sampler and trainer as a pipeline: when `--staleness K` lets one wait for the other. Arithmetic alone.

Turn t is sampled with the weights of the start of turn max(0, t − K). Its rollout is asked for as soon as these weights
are there: at the start of that turn, when they have been copied. The sampler draws one rollout after the other. A turn
copies its weights, waits for its rollout, and learns from it. docs/serving.md describes the option.

    python bench/pipeline.py                                         # the table of docs/scale.md
    python bench/pipeline.py --sampling 3 --learning 2 --spread 0.5 --staleness 0 1 2 4 8
    python bench/pipeline.py --run runs/texts --staleness 1 4        # with the times that a run had
"""

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Times:
    """Seconds of each turn: of copying weights, of sampling it (the weights' way to the sampler included), and of
    learning from it. The three have as many turns."""

    packing: Sequence[float]
    sampling: Sequence[float]
    learning: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.packing) == len(self.sampling) == len(self.learning) > 0:
            raise ValueError("packing, sampling and learning need the same number of turns, one at least")

    @property
    def turns(self) -> int:
        return len(self.learning)


@dataclass(frozen=True)
class Schedule:
    """When what happened, in seconds since the start, by turn; the last of `began` is the end.

    `asked` is when the sampler was given the turn, `begun` and `drawn` when it drew, and `taken` when the trainer had
    the rollout.
    """

    times: Times
    lag: int
    began: list[float]
    asked: list[float]
    begun: list[float]
    drawn: list[float]
    taken: list[float]

    @property
    def seconds(self) -> float:
        return self.began[-1]

    @property
    def waiting(self) -> list[float]:
        """Of each turn, the seconds in which the trainer waited."""
        ready = [began + packing for began, packing in zip(self.began, self.times.packing, strict=False)]
        return [taken - one for taken, one in zip(self.taken, ready, strict=True)]

    @property
    def sampler(self) -> float:
        """The share of the time in which the sampler draws."""
        return sum(self.times.sampling) / self.seconds

    @property
    def trainer(self) -> float:
        """The share of the time in which the trainer does not wait."""
        return (self.seconds - sum(self.waiting)) / self.seconds

    @property
    def queue(self) -> float:
        """Rollouts that are drawn and not yet taken, on average over the time."""
        lying = [taken - drawn for taken, drawn in zip(self.taken, self.drawn, strict=True)]
        return sum(lying) / self.seconds

    @property
    def staleness(self) -> float:
        """How many turns old the weights are that sampled a turn, on average over the turns."""
        return sum(min(turn, self.lag) for turn in range(self.times.turns)) / self.times.turns

    @property
    def age(self) -> float:
        """How many seconds before a turn took its rollout the weights that sampled it were the trainer's, on
        average."""
        ages = [taken - self.began[max(0, turn - self.lag)] for turn, taken in enumerate(self.taken)]
        return sum(ages) / len(ages)


def simulate(times: Times, lag: int) -> Schedule:
    """The schedule of turns that take these times, with a sampler up to `lag` turns ahead.

    With D the end of drawing, B the start of a turn, A when it has its rollout, and p, s, l its three times:

        D(t) = max(D(t − 1), B(j) + p(j)) + s(t),   j = max(0, t − lag)
        A(t) = max(B(t) + p(t), D(t)),   B(t + 1) = A(t) + l(t)

    Raises ValueError for a negative lag.
    """
    if lag < 0:
        raise ValueError("the lag must be 0 or more")
    found = Schedule(times, lag, [0.0], [], [], [], [])
    free = 0.0
    for turn in range(times.turns):
        source = max(0, turn - lag)
        found.asked.append(found.began[source] + times.packing[source])
        found.begun.append(max(free, found.asked[turn]))
        free = found.begun[turn] + times.sampling[turn]
        found.drawn.append(free)
        found.taken.append(max(found.began[turn] + times.packing[turn], free))
        found.began.append(found.taken[turn] + times.learning[turn])
    return found


def jittered(mean: float, spread: float, turns: int, seed: int) -> list[float]:
    """Times whose logarithms are normal with the deviation `spread`, with this mean in the long run."""
    numbers = random.Random(seed)
    return [mean * math.exp(numbers.gauss(0, spread) - spread**2 / 2) for _ in range(turns)]


def drawn_times(sampling: float, learning: float, packing: float, spread: float, turns: int, seed: int) -> Times:
    """Jittered times of sampling and learning, each from its own random numbers; copying weights always takes the
    same."""
    return Times(
        [packing] * turns,
        jittered(sampling, spread, turns, 2 * seed),
        jittered(learning, spread, turns, 2 * seed + 1),
    )


def of_run(run: Path) -> Times:
    """The times of a run with `--staleness` of 1 or more, from its timings.jsonl. Raises ValueError for another one."""
    from burnish.run import read_jsonl

    rows = [row for row in read_jsonl(run / "timings.jsonl") if "turn" in row]
    if not rows:
        raise ValueError(f"{run} has no turns in timings.jsonl: give a run with --staleness of 1 or more")
    learning = [row["turn_seconds"] - row["packing"] - row["waiting"] for row in rows]
    return Times([row["packing"] for row in rows], [row["sampling"] for row in rows], learning)


HEAD = (
    *("times", "K", "seconds a turn", "of K = 0", "sampler busy", "trainer busy"),
    *("rollouts waiting", "turns old", "seconds old"),
)


def row_of(name: str, found: Schedule, alone: Schedule) -> list[str]:
    """A schedule as cells of the table, beside that of K = 0."""
    turn = found.seconds / found.times.turns
    shares = [f"{share:.0%}" for share in (found.seconds / alone.seconds, found.sampler, found.trainer)]
    rest = [f"{number:.2f}" for number in (found.queue, found.staleness, found.age)]
    return [name, str(found.lag), f"{turn:.2f}", *shares, *rest]


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(one)} |" for one in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def rows_of(name: str, times: Times, lags: Sequence[int]) -> list[list[str]]:
    """The rows of some times, one for each lag."""
    alone = simulate(times, 0)
    return [row_of(name, simulate(times, lag), alone) for lag in lags]


LAGS = (0, 1, 2, 4)
TURNS = 200


def page() -> str:
    """The table of docs/scale.md: 200 turns that take 4 seconds with K = 0."""
    rows: list[list[str]] = []
    for sampling, learning in ((2.0, 2.0), (1.0, 3.0), (3.0, 1.0)):
        for spread in (0.0, 0.5):
            name = f"{sampling:g} + {learning:g}" + (f", spread {spread:g}" if spread else "")
            rows += rows_of(name, drawn_times(sampling, learning, 0.0, spread, TURNS, 0), LAGS)
    return table(rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampling", type=float, help="seconds of sampling a rollout")
    parser.add_argument("--learning", type=float, help="seconds of learning from it")
    parser.add_argument("--packing", type=float, default=0.0, help="seconds of copying the weights")
    parser.add_argument("--spread", type=float, default=0.0, help="deviation of the logarithm of a turn's times")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="a run folder, whose times are used")
    parser.add_argument("--staleness", type=int, nargs="+", default=list(LAGS))
    given = parser.parse_args(argv)
    if (given.sampling is None) != (given.learning is None) or (given.run and given.sampling):
        parser.error("give --sampling and --learning, or --run, or none of them")
    if given.run is not None:
        print(table(rows_of(given.run.name, of_run(given.run), given.staleness)))
        return
    if given.sampling is None:
        print(page())
        return
    times = drawn_times(given.sampling, given.learning, given.packing, given.spread, given.turns, given.seed)
    print(table(rows_of(f"{given.sampling:g} + {given.learning:g}", times, given.staleness)))


if __name__ == "__main__":
    main()
