"""Burnish's own tasks: answers are computed again from the prompt's text, in another way."""

import re
from random import Random

import pytest

from burnish.data.tasks.own import TASKS, Question, task
from burnish.run import UserError


def right(name: str, prompt: str) -> str:
    """The answer, worked out from the prompt alone."""
    words = prompt.split()
    match name:
        case "chain_sum":
            total, sign = 0, 1
            for word in words[:-1]:
                if word in "+-":
                    sign = 1 if word == "+" else -1
                else:
                    total += sign * int(word)
            return str(total)
        case "product":
            return str(sum(int(words[0]) for _ in range(int(words[2]))))
        case "sort":
            left, found = list(map(int, words[1:-1])), []
            while left:
                found.append(str(min(left)))
                left.remove(min(left))
            return " ".join(found)
        case "reverse":
            return " ".join(words[i] for i in range(len(words) - 2, 0, -1))
        case "letter_count":
            return str(words[3:-1].count(words[1]))
    text = "".join(words[1:-1])
    given, answer = text, ""
    while pair := re.search(r"\(\)|\[\]|\{\}|<>", text):
        text = text.replace(pair.group(), "")
    answer = " ".join({"(": ")", "[": "]", "{": "}", "<": ">"}[one] for one in text[::-1])
    assert given
    return answer


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_answer_is_right_and_the_difficulty_a_size(name: str) -> None:
    made = task(name, {}, name)
    drawn = [made.question(Random(i)) for i in range(200)]
    assert all(one.answer == right(name, one.prompt) for one in drawn)
    assert all(one.answer for one in drawn)
    assert {one.difficulty for one in drawn} == set(range(made.least, made.largest + 1))
    assert made.question(Random(3)) == drawn[3]


def test_options_set_the_size() -> None:
    one = task("chain_sum", {"least": "2", "terms": "2", "digits": "3"}, "x").question(Random(0))
    assert re.fullmatch(r"[1-9]\d\d [+-] [1-9]\d\d =", one.prompt)
    assert isinstance(one, Question)
    assert one.difficulty == 2
    assert set(task("reverse", {"alphabet": "2"}, "x").question(Random(0)).answer) <= set("ab ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"letters": "x"}, "task:reverse: letters must be a whole number, not 'x'"),
        ({"letters": "1"}, "letters must not be smaller than least, 2: set least too"),
        ({"alphabet": "27"}, r"alphabet must lie in \[2, 26\], not 27"),
        ({"letters": "9" * 12}, "letters must be a whole number"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        task("reverse", options, "task:reverse")
