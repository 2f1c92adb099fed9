"""What a judge is asked about a pair of answers: both orders, each with its reasoning first where it reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from burnish.evaluation.option_judges import Question, reasoning
from burnish.evaluation.readings import READ, Reading
from burnish.evaluation.writers import Talk
from burnish.recipes.constitution.calls import OPTIONS, TEXT, Call, key_of, spoken
from burnish.recipes.label.pairs import Pair

BEFORE = "Consider the following conversation:\n\n{prompt}\n\n"
QUESTION = "{principle}\n\nOptions:\n\n(A) {first}\n\n(B) {second}"


@dataclass(frozen=True)
class Choice:
    """One question about a pair: `order` is 0 where the answer a is option A, and 1 where the answer b is.

    `thought` is what the judge has said about it, if it reasons first.
    """

    pair: Pair
    principle: str
    order: int
    judge: str
    thought: str | None = None

    wants = OPTIONS

    @cached_property
    def question(self) -> str:
        first, second = (self.pair.a, self.pair.b) if self.order == 0 else (self.pair.b, self.pair.a)
        prompt = spoken(self.pair.prompt)
        asked = QUESTION.format(principle=self.principle, first=spoken(first), second=spoken(second))
        return BEFORE.format(prompt=prompt) + asked if prompt.strip() else asked

    @property
    def asked(self) -> Question:
        return Question(self.question, self.thought)

    @cached_property
    def key(self) -> str:
        return key_of(self.judge, self.question, *(() if self.thought is None else (self.thought,)))

    @property
    def facts(self) -> dict[str, Any]:
        found = {"pair": self.pair.key, "source": self.pair.source, "row": self.pair.row, "order": self.order}
        return found | {"principle": self.principle, "judge": self.judge}


@dataclass(frozen=True)
class Thought:
    """The question for a judge's reasoning before a choice; `judge` says which one, and how its texts are drawn."""

    choice: Choice
    judge: str

    wants = TEXT

    @property
    def asked(self) -> Talk:
        return reasoning(self.choice.question)

    @cached_property
    def key(self) -> str:
        return key_of(self.judge, "reasoning", self.choice.question)

    @property
    def facts(self) -> dict[str, Any]:
        return self.choice.facts | {"judge": self.judge, "step": "reasoning"}


@dataclass(frozen=True)
class Comparison:
    """A pair in both orders; `reasoner` is the identity of who reasons first, if anybody does."""

    choices: tuple[Choice, Choice]
    reasoner: str | None = None

    @classmethod
    def of(cls, pair: Pair, principle: str, judge: str, reasoner: str | None = None) -> "Comparison":
        return cls((Choice(pair, principle, 0, judge), Choice(pair, principle, 1, judge)), reasoner)

    @property
    def pair(self) -> Pair:
        return self.choices[0].pair

    def final(self, readings: Mapping[str, Reading]) -> tuple[Choice, Choice] | None:
        """The two questions for the option tokens; None where a thought before them is not there."""
        if self.reasoner is None:
            return self.choices
        found = [readings.get(one.key) for one in self.thoughts]
        texts = [one.text for one in found if one is not None and one.kind == READ]
        if len(texts) < 2:
            return None
        first, second = self.choices
        return replace(first, thought=texts[0]), replace(second, thought=texts[1])

    @property
    def thoughts(self) -> tuple[Thought, ...]:
        return () if self.reasoner is None else tuple(Thought(one, self.reasoner) for one in self.choices)

    def reached(self, readings: Mapping[str, Reading]) -> list[Call]:
        """The calls that have been made or can be made now."""
        return [*self.thoughts, *(self.final(readings) or ())]
