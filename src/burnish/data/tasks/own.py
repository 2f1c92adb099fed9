"""Burnish's own tasks, which a transformer of one to ten million parameters learns on a CPU.

Prompts are short and their symbols are separated by spaces, so that a tokenizer gives each a token of its own. The size
of a question, which is its difficulty, is uniform between `least` and the largest.
"""

from collections import Counter
from dataclasses import dataclass, fields
from random import Random
from typing import Any, ClassVar

from burnish.options import check, option
from burnish.run import UserError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}


@dataclass(frozen=True)
class Question:
    """One prompt with its only right answer; `difficulty` is its size, `metadata` what it was made of."""

    prompt: str
    answer: str
    difficulty: Any
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """The base of every task: `draw` makes a question of a size, by default with `least` and `largest`."""

    least: int = option(2, "the smallest size", ge=1)
    size: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check(self)
        if self.least > self.largest:
            raise ValueError(f"{self.size} must not be smaller than least, {self.least}: set least too")

    @property
    def largest(self) -> int:
        """The largest size: the option that `size` names."""
        return next(getattr(self, one.name) for one in fields(self) if one.name == self.size)

    def question(self, random: Random) -> Question:
        return self.draw(random, random.randint(self.least, self.largest))

    def draw(self, random: Random, size: int) -> Question:
        raise NotImplementedError


@dataclass(frozen=True)
class ChainSum(Task):
    """`3 + 5 - 2 =` → `6`."""

    size = "terms"
    terms: int = option(3, "the most numbers of a sum", ge=1, most=1000)
    digits: int = option(1, "digits of a number", ge=1, most=100)

    def draw(self, random: Random, size: int) -> Question:
        numbers = [number_of(random, self.digits) for _ in range(size)]
        signs = [random.choice((1, -1)) for _ in numbers[1:]]
        text = str(numbers[0]) + "".join(
            f" {'+' if s > 0 else '-'} {n}" for s, n in zip(signs, numbers[1:], strict=True)
        )
        total = numbers[0] + sum(s * n for s, n in zip(signs, numbers[1:], strict=True))
        return Question(f"{text} =", str(total), size, {"expression": text})


@dataclass(frozen=True)
class Product(Task):
    """`7 * 8 =` → `56`. The size is the number of digits of each factor."""

    size = "digits"
    least: int = option(1, "the fewest digits of a factor", ge=1)
    digits: int = option(1, "the most digits of a factor", ge=1, most=100)

    def draw(self, random: Random, size: int) -> Question:
        one, other = number_of(random, size), number_of(random, size)
        return Question(f"{one} * {other} =", str(one * other), size, {"expression": f"{one} * {other}"})


@dataclass(frozen=True)
class Sort(Task):
    """`sort 3 1 2 ->` → `1 2 3`."""

    size = "numbers"
    numbers: int = option(5, "the most numbers of a list", ge=1, most=1000)
    digits: int = option(1, "digits of a number", ge=1, most=100)

    def draw(self, random: Random, size: int) -> Question:
        numbers = [number_of(random, self.digits) for _ in range(size)]
        return Question(f"sort {spaced(numbers)} ->", spaced(sorted(numbers)), size, {"numbers": numbers})


@dataclass(frozen=True)
class Reverse(Task):
    """`reverse c a t ->` → `t a c`."""

    size = "letters"
    letters: int = option(5, "the most letters of a word", ge=1, most=1000)
    alphabet: int = option(26, "how many different letters there are", ge=2, le=26)

    def draw(self, random: Random, size: int) -> Question:
        word = random.choices(LETTERS[: self.alphabet], k=size)
        return Question(f"reverse {spaced(word)} ->", spaced(word[::-1]), size, {"word": "".join(word)})


@dataclass(frozen=True)
class LetterCount(Task):
    """`count a in b a c a ->` → `2`. The counted letter is one of the word's, or any other in one question of four."""

    size = "letters"
    letters: int = option(8, "the most letters of a word", ge=1, most=1000)
    alphabet: int = option(4, "how many different letters there are", ge=2, le=26)

    def draw(self, random: Random, size: int) -> Question:
        word = random.choices(LETTERS[: self.alphabet], k=size)
        letter = random.choice(word if random.random() < 0.75 else LETTERS[: self.alphabet])
        return Question(
            f"count {letter} in {spaced(word)} ->",
            str(Counter(word)[letter]),
            size,
            {"word": "".join(word), "letter": letter},
        )


@dataclass(frozen=True)
class Brackets(Task):
    """`close ( [ ] { ->` → `} )`: close what is open, the last first. The size is the number of given brackets."""

    size = "brackets"
    brackets: int = option(6, "the most brackets that are given", ge=1, most=1000)
    kinds: int = option(3, "how many kinds of brackets there are", ge=1, le=4)

    def draw(self, random: Random, size: int) -> Question:
        given: list[str] = []
        stack: list[str] = []
        for place in range(size):
            # The last bracket must leave something to close.
            if len(stack) > (place == size - 1) and random.random() < 0.4:
                given.append(PAIRS[stack.pop()])
            else:
                stack.append(random.choice(list(PAIRS)[: self.kinds]))
                given.append(stack[-1])
        answer = spaced(PAIRS[one] for one in reversed(stack))
        return Question(f"close {spaced(given)} ->", answer, size, {"depth": len(stack)})


TASKS: dict[str, type[Task]] = {
    "brackets": Brackets,
    "chain_sum": ChainSum,
    "letter_count": LetterCount,
    "product": Product,
    "reverse": Reverse,
    "sort": Sort,
}


def task(name: str, options: dict[str, str], where: str) -> Task:
    """The task of this name. Raises UserError, which begins with `where`, for options that it does not take."""
    cls = TASKS[name]
    try:
        return cls(**{key: whole(value, key) for key, value in options.items()})
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error


def whole(text: str, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{key} must be a whole number, not {text!r}")
    return int(text)


def number_of(random: Random, digits: int) -> int:
    """A number of so many digits, the first of which is 0 only where it is the only one."""
    return random.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def spaced(symbols: Any) -> str:
    return " ".join(map(str, symbols))
