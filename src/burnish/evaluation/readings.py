"""What a model answered to a question, and who answers: a model in this process, or one behind HTTP."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

READ, UNREAD, FAILED = "read", "unread", "failed"

Q = TypeVar("Q", contravariant=True)


@dataclass(frozen=True)
class Reading:
    """What was answered to one question: `logprobs` of the two option tokens, in their order, among all tokens, or a
    `text`.

    Where that is no answer, `problem` says why: the question is UNREAD if asking again would not help, and FAILED if it
    may. `requests` is how often the model was asked. A question is `refused` if what it asks for may be at fault,
    rather than its text: a model that refuses all questions will not answer others.
    """

    logprobs: tuple[float, float] | None
    problem: str = ""
    requests: int = 1
    failed: bool = False
    refused: bool = False
    text: str | None = None

    @property
    def kind(self) -> str:
        if not self.problem and (self.logprobs is not None or self.text is not None):
            return READ
        return FAILED if self.failed else UNREAD


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
