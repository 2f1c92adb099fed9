"""The reward `code`: runs the program of an answer against the tests of its row, in a sandbox or not at all."""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from burnish.rewards.completed import BadRewardError, Completed, lacks_column
from burnish.rewards.sandbox.run import Limits, refusal, run_script, run_tests
from burnish.run import UserError

AT_ONCE = min(8, os.cpu_count() or 1)
OTHER_COLUMN = "add it, or name another column"


@dataclass(frozen=True)
class CodeReward:
    """1 where the program in a response passes all tests of its row, in the column `column`, otherwise 0.

    Tests are Python: one text, or a list of texts, which call the program's functions; or a list of `input` and
    `output`, for a program that reads its standard input. A column `entry_point` names the function that is given to
    the tests' own `check`.
    """

    name: str
    column: str = "tests"
    limits: Limits = Limits()

    def __call__(self, completed: Completed) -> Sequence[float]:
        if self.column not in completed.columns:
            raise lacks_column(self.name, self.column, completed, completed.rows[:1], OTHER_COLUMN)
        entries = completed.columns.get("entry_point") or [None] * len(completed)
        tests = [
            read_tests(cell, row, self)
            for cell, row in zip(completed.columns[self.column], completed.rows, strict=True)
        ]
        programs = map(program_of, completed.responses)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.passes, programs, tests, entries))

    def passes(self, program: str, tests: list[Any], entry: str | None) -> float:
        if isinstance(tests[0], str):
            return float(run_tests(program, tests, entry, self.limits).passed == len(tests))
        return float(all(same_output(run_script(program, t["input"], self.limits), t["output"]) for t in tests))


def code_checker(text: str, words: Sequence[str]) -> CodeReward:
    """`code[:COLUMN]`. Raises UserError where there is no sandbox: a program is never run without one."""
    if len(words) > 1:
        raise UserError(f"--reward {text}: write code:COLUMN, with one column")
    if problem := refusal():
        raise UserError(
            f"--reward {text} runs programs in a sandbox, which cannot be had here ({problem}): use another reward, or "
            "another machine"
        )
    return CodeReward(text, (words[0] if words else "") or "tests")


def read_tests(cell: Any, row: int, reward: CodeReward) -> list[Any]:
    """The tests of a cell, as a list of texts, or of inputs and outputs."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            cell = json.loads(cell)
    tests = [cell] if isinstance(cell, str | dict) else cell
    if isinstance(tests, list | tuple) and tests:
        if all(isinstance(one, str) and one.strip() for one in tests):
            return list(tests)
        if all(isinstance(one, dict) and {"input", "output"} <= one.keys() for one in tests):
            return [{key: str(one[key]) for key in ("input", "output")} for one in tests]
    raise BadRewardError(
        f"the reward {reward.name} found no tests in row {row}, column `{reward.column}`: give Python, a list of it, "
        "or a list of objects with input and output",
        [row],
    )


def program_of(response: str) -> str:
    """The last fenced block of a response, or all of it."""
    blocks = re.findall(r"^[ \t]*```\w*[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", response, re.DOTALL | re.MULTILINE)
    return blocks[-1] if blocks else response


def same_output(found: str | None, wanted: str) -> bool:
    """Whether two outputs are the same but for white space at the ends of lines and of the whole."""
    if found is None:
        return False
    lines = [[line.rstrip() for line in text.strip().split("\n")] for text in (found, wanted)]
    return lines[0] == lines[1]
