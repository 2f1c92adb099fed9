"""The tasks of reasoning_gym, with its own scorers (Stojanovski et al. 2025, "Reasoning Gym").

Where its prose is long, the question is written short from the row's metadata. A row whose key is wrong, by a check of
ours where there is one or by reasoning_gym's own scorer, is left out.
"""

import dataclasses
import difflib
import importlib
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from typing import Any

from burnish.arithmetic import exact_value
from burnish.data.tasks.own import Question
from burnish.run import UserError, first_line, user_code
from burnish.run.user_code import UserCodeError

PREFIX = "reasoning_gym/"

SHORT: dict[str, Callable[[dict[str, Any]], str]] = {
    "chain_sum": lambda m: f"{m['expression']} =",
    "products": lambda m: f"{m['expression']} =",
    "basic_arithmetic": lambda m: f"{m['expression']} =",
    "gcd": lambda m: f"gcd {spaced(m['numbers'])} ->",
    "lcm": lambda m: f"lcm {spaced(m['numbers'])} ->",
    "spell_backward": lambda m: f"reverse {m['word']} ->",
    "letter_counting": lambda m: f"count {m['target_letter']} in {spaced(m['span'])} ->",
    "count_bits": lambda m: f"ones in binary {m['number']} ->",
    "countdown": lambda m: f"make {m['target']} from {spaced(m['numbers'])} with + - * / ->",
    "number_sorting": lambda m: f"sort {m['direction']}, as in ['1', '2']: {spaced(m['original_numbers'])} ->",
    "word_sorting": lambda m: f"sort {m['direction']}, as in a, b: {', '.join(m['transformed_words'])} ->",
}
"""How a question is written short, from its metadata."""

UNKEYED = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")
"""Tasks whose key is not an answer: they can be sampled from and scored, but there is nothing to imitate."""

WRONG_IN_A_ROW = 200
"""Rows with wrong keys, one after the other, before a task is given up."""

EXPRESSIONS = ("basic_arithmetic", "chain_sum", "products")

KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "gcd": lambda m: math.gcd(*m["numbers"]),
    "lcm": lambda m: math.lcm(*m["numbers"]),
    "spell_backward": lambda m: m["word"][::-1],
    "letter_counting": lambda m: "".join(m["span"]).lower().count(m["target_letter"].lower()),
    "count_bits": lambda m: m["number"].bit_count(),
} | dict.fromkeys(EXPRESSIONS, lambda m: value(m["expression"]))
"""The right answer, from the metadata, of tasks for which that is simple."""


class Gym:
    """A task of reasoning_gym: question i of a seed is its row i.

    Raises UserError where the package is not installed, and for a task or an option that it does not have.
    """

    def __init__(self, name: str, options: dict[str, str], where: str) -> None:
        self.name, self.where = name, where
        given = dict(options)
        short = given.pop("short", "true")
        if short not in ("true", "false"):
            raise UserError(f"{where}: short must be true or false, not {short!r}.")
        self.short = SHORT.get(name) if short == "true" else None
        self.options = configured(name, given, where)
        self.skipped = 0

    def questions(self, seed: int) -> Iterator[Question]:
        """Endless questions, without those whose key is wrong."""
        try:
            with user_code():
                source = made(self.name, seed, **self.options)
        except UserCodeError as error:
            raise UserError(f"{self.where}: reasoning_gym refuses these options ({error}).") from error
        number = wrong = 0
        while wrong < WRONG_IN_A_ROW:
            try:
                with user_code():
                    entry = source[number]
                    right = self.keyed(source, entry)
            except UserCodeError as error:
                raise UserError(f"{self.where}: reasoning_gym fails in row {number} ({error}).") from error
            number, wrong = number + 1, 0 if right else wrong + 1
            if right:
                yield self.written(entry)
            else:
                self.skipped += 1
        raise UserError(f"{self.where}: {wrong} rows of reasoning_gym in a row have wrong answers; use other options.")

    def keyed(self, source: Any, entry: dict[str, Any]) -> bool:
        """Whether a row's key is right, by our check and by its own scorer."""
        if self.name in UNKEYED:
            return True
        return is_right(self.name, entry) and source.score_answer(entry["answer"], entry) == 1

    def written(self, entry: dict[str, Any]) -> Question:
        prompt = self.short(entry["metadata"]) if self.short else entry["question"]
        kept = plain({key: entry[key] for key in ("question", "answer", "metadata")} | {"options": self.options})
        answer = "" if self.name in UNKEYED else str(entry["answer"])
        return Question(prompt, answer, difficulty(entry["metadata"]), kept)


@cache
def made(name: str, seed: int, **options: Any) -> Any:
    """The data set of this name, with as many rows as are asked for."""
    return package().create_dataset(name, size=2**31 - 1, seed=seed, **options)


def package() -> Any:
    """reasoning_gym. Raises UserError where it is not installed or cannot be imported."""
    if find_spec("reasoning_gym") is None:
        raise UserError("the tasks of reasoning_gym need the package reasoning_gym: pip install 'burnish[reasoning]'.")
    try:
        return importlib.import_module("reasoning_gym.factory")
    except ImportError as error:
        raise UserError(
            f"the package reasoning_gym cannot be imported: pip install 'burnish[reasoning]' ({first_line(error)})."
        ) from error


def names() -> list[str]:
    """All of its tasks, or none where it is not installed."""
    return sorted(package().DATASETS) if find_spec("reasoning_gym") is not None else []


def configured(name: str, given: dict[str, str], where: str) -> dict[str, Any]:
    """The options as the task's configuration wants them. Raises UserError for an unknown one."""
    config = package().DATASETS[name][1]
    known = [one.name for one in dataclasses.fields(config) if one.name not in ("seed", "size")]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}."
            raise UserError(f"{where}: reasoning_gym's {name} has no option {key}; {hint}")
    return {key: literal(text) for key, text in given.items()}


def literal(text: str) -> Any:
    """A number, true or false, or text; several are separated by a bar: `operators=+|-`."""
    if "|" in text:
        return tuple(map(literal, text.split("|")))
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def is_right(name: str, entry: dict[str, Any]) -> bool:
    """Whether a row's key is right, as far as it can be checked."""
    if name not in KEYS:
        return True
    key = str(entry["answer"])
    try:
        right = KEYS[name](entry["metadata"])
        return key == right if isinstance(right, str) else Fraction(key) == Fraction(right)
    except (ValueError, ZeroDivisionError):
        return False


def value(expression: str) -> Fraction:
    """The exact value of sums and products of numbers. Raises ZeroDivisionError for a division by 0."""
    try:
        return exact_value(expression.strip())
    except ValueError as error:
        raise ValueError(f"{expression} is no sum or product") from error


def difficulty(metadata: dict[str, Any]) -> str:
    """What of the row says how hard it is, as text: the parameters of its difficulty, with the row's own values."""
    found = metadata.get("difficulty") or {}
    own = {key: metadata[key] for key in found if isinstance(metadata.get(key), int | float | str)}
    own |= {key: len(metadata[key]) for key in found if isinstance(metadata.get(key), list)}
    return ", ".join(f"{key} {value}" for key, value in own.items()) or "all"


def plain(value: Any) -> Any:
    """A value as JSON holds it; what JSON cannot hold as text."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def spaced(values: Any) -> str:
    return " ".join(map(str, values))
