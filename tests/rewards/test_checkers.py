"""Checkers by name, on answers as a model writes them and on what an attacker would."""

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.rewards.checkers import CHECKERS, checker
from burnish.rewards.completed import BadRewardError, Completed, checked_scores
from burnish.run import UserError


def completed(responses: list[str], **columns: list[Any]) -> Completed:
    count = len(responses)
    return Completed(["p"] * count, responses, responses, columns, [10 + i for i in range(count)], None, [True] * count)


def scores(name: str, responses: list[str], **columns: list[Any]) -> list[float]:
    found = checker(name)
    assert found is not None
    assert found.name == name
    return checked_scores(found, completed(responses, **columns))


def test_match_compares_what_stands_after_the_marker() -> None:
    assert scores("match", [" Six.", "5", "5 apples"], answer=["six", 5, "5"]) == [1, 1, 0]
    assert scores("match", ["b", "c"], answer=[["a", "b"], ["a", "b"]]) == [1, 0]
    assert scores("match:gold:####", ["so\n#### 5", "5"], gold=["2 + 3 = 5\n#### 5", "5"]) == [1, 0]
    assert scores("match::the answer:", ["the answer: x"], answer=["x"]) == [1]  # a marker may hold a colon


def test_number_compares_the_last_number() -> None:
    responses = ["it is 1,000.", "4 or 5", "none", "about 0.3333333"]
    assert scores("number", responses, answer=[1000, [4, 5], "6", 1 / 3]) == [1, 1, 0, 1]
    assert scores("number:answer:####", ["#### 5 of 6", "5"], answer=["5 #### 6", 5]) == [1, 0]


def test_patterns() -> None:
    assert scores("regex:^[0-9]{1,3}$", ["12", "1234"]) == [1, 0]
    assert scores("regex:a:b", ["xa:b"]) == [1]
    assert scores("format:<a>.*</a>", [" <a>\nx</a>\n", "<a>x</a>y"]) == [1, 0]
    thoughts = ["<think>a\nb</think>c", "a</think>c", "c", "<think>a<think>b</think>c"]
    assert scores("format", thoughts) == [1, 1, 0, 0]


def test_a_pattern_that_takes_for_ever_is_ended_and_the_next_is_checked() -> None:
    assert scores("regex:^(a+)+$", ["a" * 40 + "b", "aaa"]) == [0, 1]


def test_a_schema(tmp_path: Path) -> None:
    properties = {"a": {"type": "integer"}}
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"type": "object", "required": ["a"], "properties": properties}))
    given = ['{"a": 1}', '{"a": "x"}', '```json\n{"a": 2}\n```\n', "[" * 100_000, '{"a": NaN}', "", '{"a": 1} x']
    assert scores(f"json-schema:{file}", given) == [1, 0, 1, 0, 0, 0, 0]
    file.write_text('{"type": "objekt"}')
    with pytest.raises(UserError, match=r"s\.json is not a JSON schema \('objekt' is not valid"):
        checker(f"json-schema:{file}")


def test_mathematics() -> None:
    right = [r"so \boxed{\frac12}", "The answer is 0.5", "$1/2$"]
    wrong = ["0.3", "", "9**9**9**9", "(" * 3000, "__import__('os')"]
    answers = ["1/2"] * (len(right) + len(wrong))
    assert scores("math", right + wrong, answer=answers) == [1] * len(right) + [0] * len(wrong)
    assert scores("math:gold", ["$(x-1)(x+1)$"], gold=["x^2-1"]) == [1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("regex", "--reward regex has no pattern"),
        ("regex:(", r"--reward regex:\( is not a regular expression"),
        ("json-schema", "--reward json-schema: there is no file"),
        ("json-schema:/no/file", "there is no file /no/file"),
        ("math:a:b", "write math:COLUMN|needs the package math-verify"),
        ("code:a:b", "write code:COLUMN"),
    ],
)
def test_arguments_that_make_no_sense(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        checker(name)


def test_rows_without_the_column_are_named() -> None:
    with pytest.raises(
        BadRewardError, match=r"needs the column `gold`, .* has `answer` \(in row 10\): add it"
    ) as error:
        scores("match:gold", ["a", "b"], answer=["a", "b"])
    assert error.value.rows == [10, 11]
    with pytest.raises(BadRewardError, match=r"needs the column `answer`, which is empty in row 11: fill it"):
        scores("number", ["1", "2"], answer=[1, None])


def test_no_other_name_is_a_checker() -> None:
    assert checker("module:function") is None
    assert set(CHECKERS) == {"match", "number", "regex", "format", "json-schema", "math", "code"}
