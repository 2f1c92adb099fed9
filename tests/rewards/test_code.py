"""The reward `code`: programs in answers, and tests in rows."""

from typing import Any

import pytest

from burnish.rewards import code
from burnish.rewards.code import CodeReward, code_checker, program_of, same_output
from burnish.rewards.completed import BadRewardError, Completed
from burnish.rewards.sandbox.run import refusal
from burnish.run import UserError

needs_sandbox = pytest.mark.skipif(bool(refusal()), reason="no sandbox here")


def completed(responses: list[str], **columns: list[Any]) -> Completed:
    count = len(responses)
    return Completed(["p"] * count, responses, responses, columns, list(range(count)), None, [True] * count)


@needs_sandbox
def test_programs_pass_or_fail() -> None:
    responses = [
        "Here:\n```python\ndef f(x):\n    return x\n```\nDone.",
        "def f(x): return 1",
        "print(2 * int(input()))",
    ]
    tests = [
        "assert f(3) == 3\nassert f('a') == 'a'",
        ["assert f(1) == 1", "assert f(2) == 2"],
        [{"input": 2, "output": "4\n"}],
    ]
    assert CodeReward("code")(completed(responses, tests=tests)) == [1, 0, 1]
    check = "def check(candidate):\n    assert candidate(2) == 4"
    given = completed(["def g(x): return 2 * x"], test=[check], entry_point=["g"])
    assert CodeReward("code:test", "test")(given) == [1]


def test_without_a_sandbox_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "refusal", lambda: "it needs Linux")
    with pytest.raises(UserError, match=r"which cannot be had here \(it needs Linux\): use another reward"):
        code_checker("code", [])


@pytest.mark.parametrize("cell", ["", [], [1], {"input": "x"}, None, 5, ["ok", " "]])
def test_a_row_without_tests_is_named(cell: Any) -> None:
    with pytest.raises(BadRewardError, match="found no tests in row 0, column `tests`"):
        CodeReward("code")(completed(["x"], tests=[cell]))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(BadRewardError, match=r"needs the column `tests`, but .* has `answer` \(in row 0\)"):
        CodeReward("code")(completed(["x"], answer=["y"]))


def test_the_program_is_the_last_block_or_all() -> None:
    assert program_of("a\n```py\nx\n```\n```\ny\n```") == "y\n"
    assert program_of("a\n```python\nx = 1\n") == "x = 1\n"  # cut at the length limit
    assert program_of("x = 1") == "x = 1"


def test_outputs_are_compared_without_white_space_at_the_ends() -> None:
    assert same_output("1 \n2\n\n", "1\n2")
    assert not same_output("1 2", "1\n2")
    assert not same_output(None, "")
