"""Rewards that check an answer, by name: `NAME[:ARGUMENT…]`, as in `match:answer:####`.

Each gives every completion a score of its own; what the row must hold beside the prompt stands in a column.
"""

import importlib.util
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from burnish.rewards.answers import after, last_number, normalised, same_number
from burnish.rewards.code import OTHER_COLUMN, code_checker
from burnish.rewards.completed import BadRewardError, Completed, lacks_column, named
from burnish.rewards.sandbox.timed import timed
from burnish.run import UserError, read_mapping

Cells = tuple[Any, ...]

THINKING = r"(?:<think>)?(?:(?!</?think>).)*</think>(?:(?!</?think>).)*"
"""What `format` alone asks for: thoughts that end with </think>, and an answer after them."""

MATH_SECONDS = 5.0


@dataclass(frozen=True)
class Checker:
    """A reward that grades each response with the row's cells in `columns`, of which those in `optional` may lack.

    `grade` gives NaN for a cell that it cannot read.
    """

    name: str
    columns: tuple[str, ...]
    grade: Callable[[str, Cells], float]
    optional: tuple[str, ...] = ()

    def __call__(self, completed: Completed) -> Sequence[float]:
        scores = [self.grade(r, c) for r, c in zip(completed.responses, cells(self, completed), strict=True)]
        if bad := [row for row, score in zip(completed.rows, scores, strict=True) if math.isnan(score)]:
            raise BadRewardError(
                f"the reward {self.name} cannot read the column `{self.columns[0]}` of {named(bad)}: mend it", bad
            )
        return scores


def cells(checker: Any, completed: Completed) -> list[Cells]:
    """The cells of each row in the checker's columns. Raises BadRewardError, with row and column, where one lacks."""
    found: list[Sequence[Any]] = []
    for name in checker.columns:
        if name not in completed.columns:
            if name in checker.optional:
                found.append([None] * len(completed))
                continue
            raise lacks_column(checker.name, name, completed, completed.rows[:1], OTHER_COLUMN)
        column = completed.columns[name]
        if name not in checker.optional and (
            bad := [row for row, c in zip(completed.rows, column, strict=True) if c is None]
        ):
            raise BadRewardError(
                f"the reward {checker.name} needs the column `{name}`, which is empty in {named(bad)}: fill it", bad
            )
        found.append(column)
    return list(zip(*found, strict=True)) if found else [()] * len(completed)


def match_checker(text: str, words: Sequence[str]) -> Checker:
    """`match[:COLUMN[:MARKER]]`: 1 where the answer is the row's, both normalised."""
    column, marker = column_and_marker(text, words)
    return Checker(text, (column,), partial(matches, marker))


def number_checker(text: str, words: Sequence[str]) -> Checker:
    """`number[:COLUMN[:MARKER]]`: 1 where the last number of the answer is that of the row's."""
    column, marker = column_and_marker(text, words)
    return Checker(text, (column,), partial(equals, marker))


def matches(marker: str, response: str, row: Cells) -> float:
    answer = after(response, marker) if marker else response
    return float(answer is not None and normalised(answer) in [normalised(one) for one in answers(marker, row)])


def equals(marker: str, response: str, row: Cells) -> float:
    answer = after(response, marker) if marker else response
    number = None if answer is None else last_number(answer)
    right = [last_number(one) for one in answers(marker, row)]
    return float(number is not None and any(one is not None and same_number(number, one) for one in right))


def answers(marker: str, row: Cells) -> list[str]:
    """The right answers of a cell: one, or any of a list; what stands after the marker, where the cell has it too."""
    every = row[0] if isinstance(row[0], list | tuple) else [row[0]]
    texts = [one if isinstance(one, str) else json.dumps(one) for one in every]
    return [(after(one, marker) if marker else None) or one for one in texts]


def regex_checker(text: str, words: Sequence[str]) -> Checker:
    """`regex:PATTERN`: 1 where the pattern is found in the response."""
    if not (pattern := ":".join(words)):
        raise UserError(f"--reward {text} has no pattern: write regex:PATTERN, as in regex:[0-9]+")
    return pattern_checker(text, pattern, whole=False)


def format_checker(text: str, words: Sequence[str]) -> Checker:
    """`format[:PATTERN]`: 1 where the pattern matches all of the response; by default see `THINKING`."""
    return pattern_checker(text, ":".join(words) or THINKING, whole=True)


def pattern_checker(text: str, pattern: str, whole: bool) -> Checker:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"--reward {text} is not a regular expression ({error}): mend it") from error

    def grade(response: str, row: Cells) -> float:
        return timed("regex").score({"pattern": pattern, "text": response, "whole": whole}) or 0.0

    return Checker(text, (), grade)


def schema_checker(text: str, words: Sequence[str]) -> Checker:
    """`json-schema:FILE`: 1 where the response is JSON that is valid by the schema; it may stand in a fenced block."""
    need("jsonschema", text, "json-schema")
    file = Path(":".join(words)).expanduser()
    if not words or not file.is_file():
        raise UserError(f"--reward {text}: there is no file {file if words else ''}: write json-schema:FILE".rstrip())
    schema = read_mapping(file)
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise UserError(f"{file} is not a JSON schema ({error.message}): mend it") from error

    def grade(response: str, row: Cells) -> float:
        return timed("json-schema").score({"schema": schema, "text": unfenced(response)}) or 0.0

    return Checker(text, (), grade)


def math_checker(text: str, words: Sequence[str]) -> Checker:
    """`math[:COLUMN]`: 1 where the response's answer is mathematically that of the row, by math-verify."""
    need("math_verify", text, "math", "math-verify")
    column = column_of(text, words)

    def grade(response: str, row: Cells) -> float:
        answer = row[0] if isinstance(row[0], str) else json.dumps(row[0])
        return timed("math").score({"answer": answer, "text": response}, MATH_SECONDS) or 0.0

    return Checker(text, (column,), grade)


CHECKERS: dict[str, Callable[[str, Sequence[str]], Any]] = {
    "match": match_checker,
    "number": number_checker,
    "regex": regex_checker,
    "format": format_checker,
    "json-schema": schema_checker,
    "math": math_checker,
    "code": code_checker,
}
"""Every checker by name, made from the whole text of --reward and the words after its name."""


def checker(text: str) -> Any | None:
    """The checker that a text names; None if it names none. Raises UserError for arguments that it does not take."""
    name, *words = text.split(":")
    return CHECKERS[name](text, words) if name in CHECKERS else None


def column_of(text: str, words: Sequence[str]) -> str:
    if len(words) > 1:
        raise UserError(f"--reward {text}: write {text.partition(':')[0]}:COLUMN, with one column")
    return (words[0] if words else "") or "answer"


def column_and_marker(text: str, words: Sequence[str]) -> tuple[str, str]:
    return column_of(text, words[:1]), ":".join(words[1:])


def unfenced(response: str) -> str:
    """The last fenced block of a response, or all of it."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", response, re.DOTALL | re.MULTILINE)
    return blocks[-1] if blocks else response


def need(module: str, text: str, extra: str, package: str = "") -> None:
    """Raise UserError, with the extra to install, where a library is missing."""
    if importlib.util.find_spec(module) is None:
        raise UserError(f"--reward {text} needs the package {package or module}: pip install 'burnish[{extra}]'")
