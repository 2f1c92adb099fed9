"""What a model answered to a question, and who answers: a model in this process, or one behind HTTP."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

READ, UNREAD, FAILED = "read", "unread", "failed"

ABOVE = 1e-6
"""How far above 0 rounding may bring a log-probability."""

Q = TypeVar("Q", contravariant=True)


@dataclass(frozen=True)
class Reading:
    """What was answered to one question: `logprobs` of the two option tokens, in their order, among all tokens, or a
    `text`.

    Where that is no answer, `problem` says why: the question is UNREAD if asking again would not help, and FAILED if it
    may. `requests` is how often the model was asked, and `tokens` how many its server says that this took, None where
    it does not say. A question is `refused` if what it asks for may be at fault, rather than its text: a model that
    refuses all questions will not answer others.
    """

    logprobs: tuple[float, float] | None
    problem: str = ""
    requests: int = 1
    failed: bool = False
    refused: bool = False
    text: str | None = None
    tokens: int | None = None

    @property
    def kind(self) -> str:
        if not self.problem and (self.logprobs is not None or self.text is not None):
            return READ
        return FAILED if self.failed else UNREAD


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: whether it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def number_of(value: Any) -> float:
    """A number as a float, infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def not_logprobs(a: float, b: float) -> str:
    """Why two numbers are no log-probabilities of the two options; empty if they are."""
    fine = all(math.isfinite(one) and one <= ABOVE for one in (a, b))
    return "" if fine else f"the judge's log-probabilities of A and B are {a:g} and {b:g}"


class Answerer(Protocol[Q]):
    """Protocol of who answers; `name` is its name for the user, `identity` says which model exactly it is, and how it
    answers."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def at_once(self) -> int:
        """How many questions it takes at a time."""
        ...

    def __call__(self, questions: Sequence[Q], /, most: int | None = None) -> Iterator[tuple[int, Reading]]:
        """The position of each question and what was read, as soon as it is there, with at most `most` requests, which
        are as many as questions or more."""
        ...
