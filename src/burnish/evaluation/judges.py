"""Judges that compare pairs of texts, and statistics of their verdicts.

A judge gets the prompts and the two models' completions, and returns "A", "B", "tie" or no verdict for each pair. A
pair without a verdict is unjudged: it is counted, and left out of every rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np

from burnish.evaluation.statistics import Interval, bootstrap_interval, proportion
from burnish.rewards.completed import Completed, Reward, brief, checked_scores, listed, named
from burnish.run import UserCodeError, UserError, imported, user_code

A, B, TIE = "A", "B", "tie"
WORTH = {A: 1.0, B: 0.0, TIE: 0.5}


@dataclass(frozen=True)
class Verdict:
    """The verdict on one pair: the `winner`, or None if it is unjudged for the reason in `problem`.

    `scores` are the scores of A and B, if the judge gives scores. `orders` are the winners when A was shown first and
    when B was, if the judge was asked in both orders.
    """

    winner: str | None
    scores: tuple[float, float] | None = None
    orders: tuple[str | None, str | None] | None = None
    problem: str = ""

    @property
    def disagrees(self) -> bool:
        """Whether the two orders have different winners."""
        return self.orders is not None and None not in self.orders and self.orders[0] != self.orders[1]


@runtime_checkable
class Judge(Protocol):
    """Protocol of a judge; `name` is its name for the user."""

    @property
    def name(self) -> str: ...

    def __call__(self, a: Completed, b: Completed) -> list[Verdict]:
        """One verdict per pair of completions; `a` and `b` have the same prompts in the same order."""
        ...


@dataclass(frozen=True)
class RewardJudge:
    """Judges by a reward: the higher score wins, equal scores are a tie."""

    reward: Reward

    @property
    def name(self) -> str:
        return self.reward.name

    def __call__(self, a: Completed, b: Completed) -> list[Verdict]:
        pairs = zip(checked_scores(self.reward, a), checked_scores(self.reward, b), strict=True)
        return [Verdict(winner_by(first - second), (first, second)) for first, second in pairs]


@dataclass(frozen=True)
class FunctionJudge:
    """Judges by a function `function(prompts, a, b)` of three lists.

    It returns a list of "A", "B", "tie", None, or numbers of any size, positive if A is better and negative if B is. It
    is called once, with the models in the user's order, and gets copies.
    """

    name: str
    function: Callable[[list[Any], list[str], list[str]], Any]

    def __call__(self, a: Completed, b: Completed) -> list[Verdict]:
        mine = a.copy()
        try:
            with user_code():
                found = self.function(mine.prompts, mine.responses, list(b.responses))
                values = listed(found)
                if values is None or len(values) != len(a):
                    count = brief(found) if values is None else f"{len(values)} verdicts"
                    raise UserError(
                        f"the judge {self.name} returned {count} for {len(a)} pairs: it must return a list of one "
                        "verdict each"
                    )
                return [self.read(value, row) for value, row in zip(values, a.rows, strict=True)]
        except UserCodeError as error:
            raise UserError(f"the judge {self.name} failed ({error}): correct it and try again") from error.cause

    def read(self, value: Any, row: int) -> Verdict:
        """Convert a returned value to a verdict. Raises UserError naming the row if it is invalid."""
        if value is None:
            return Verdict(None, problem="the judge gave no verdict")
        if isinstance(value, str) and value in WORTH:
            return Verdict(value)
        if hasattr(value, "item"):  # a NumPy or PyTorch scalar
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
            raise UserError(
                f"the judge {self.name} returned {brief(value)} for {named([row])}: it must return A, B, tie, None "
                "or a number that is positive if A is better"
            )
        return Verdict(winner_by(float(value)))


def load_judge(text: str) -> FunctionJudge:
    """Load the judge `module:function`. Raises UserError if there is no such function."""
    function = imported(text, "--judge")
    if not callable(function):
        raise UserError(f"--judge {text} is not callable (type {type(function).__name__}): name a function")
    return FunctionJudge(text, function)


def winner_by(lead: float) -> str:
    """The winner if A's score is higher than B's by `lead`."""
    return A if lead > 0 else B if lead < 0 else TIE


def both_orders(first: str | None, second: str | None, problem: str = "") -> Verdict:
    """The verdict of a judge that was asked twice: `first` is the winner when A was shown first, `second` when B was.

    Different winners in the two orders are a tie; a pair that is unjudged in one order is unjudged.
    """
    if first is None or second is None:
        return Verdict(None, orders=(first, second), problem=problem or "no verdict")
    return Verdict(first if first == second else TIE, orders=(first, second))


def win_rate(verdicts: Sequence[Verdict]) -> Interval | None:
    """Win rate of A over the judged pairs, ties counting half, with a 95 % bootstrap interval; None without such pairs.

    If A wins or loses all pairs, a bootstrap interval would have zero width, and Wilson's is used.
    """
    worth = np.array([WORTH[one.winner] for one in verdicts if one.winner is not None])
    if not worth.size:
        return None
    if worth[0] != WORTH[TIE] and np.all(worth == worth[0]):
        return proportion(float(worth.sum()), worth.size)
    return bootstrap_interval(worth)


def position_bias(verdicts: Sequence[Verdict]) -> Interval | None:
    """How often the text shown first is preferred, ties counting half, over the pairs judged in both orders.

    Each text is shown first once, so an unbiased judge has exactly ½, whichever model is better. The interval is a 95 %
    bootstrap over pairs, or Wilson's if all pairs agree; None if no pair was judged in both orders.
    """
    orders = [one.orders for one in verdicts if one.orders is not None and one.winner is not None]
    if not orders:
        return None
    shares = np.array([(WORTH[str(first)] + 1 - WORTH[str(second)]) / 2 for first, second in orders])
    if shares[0] != 0.5 and np.all(shares == shares[0]):
        return proportion(float(shares.sum()), shares.size)
    return bootstrap_interval(shares)


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Numbers of pairs, wins of A and of B, ties, unjudged pairs, and ties because the two orders disagree."""
    winners = [one.winner for one in verdicts]
    found = {"pairs": len(winners), "A": winners.count(A), "B": winners.count(B), "ties": winners.count(TIE)}
    return found | {"unjudged": winners.count(None), "orders_disagree": sum(one.disagrees for one in verdicts)}
