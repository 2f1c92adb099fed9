"""The calculator, the table and the game that Burnish brings along."""

import json

import pytest

from burnish.environments.builtin import Calculator, Guess, Lookup
from burnish.environments.tools import ToolEnvironment


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(3 + 4) * 12", "84"),
        ("1 / 4", "0.25"),
        ("1 / 3", "0.3333333333"),
        ("0.1 + 0.2", "0.3"),
        ("-2 - -3", "1"),
        ("12345678901234567890 + 1", "12345678901234567891"),
    ],
)
def test_a_calculator_calculates(expression: str, value: str) -> None:
    assert Calculator().calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["2 ** 9", "1 / 0", "__import__('os')", "x", "True + 1", "1 +", "'a' * 9", "1" * 201, "(" * 150, "1j + 1"],
)
def test_a_calculator_answers_everything_else_with_an_error(expression: str) -> None:
    environment = ToolEnvironment(Calculator())
    environment.reset({"prompt": "?"}, 0)
    called = json.dumps({"name": "calculate", "arguments": {"expression": expression}})
    (message,), _, _ = environment.step(f"<tool_call>{called}</tool_call>")
    assert message["content"].startswith("error: ")


def test_a_table_is_the_rows_own() -> None:
    table = Lookup()
    table.reset(table={"Rome": "Italy", "Bern": None, "3": 4}, prompt="?")
    assert [table.lookup(key) for key in ("Rome", "Bern", "3")] == ["Italy", "not found", "4"]


def test_a_number_is_found_by_halving() -> None:
    game, low, high = Guess(), 1, 100
    (first,) = game.reset({"prompt": None}, 5)
    assert "from 1 to 100" in first["content"]
    for _ in range(7):
        middle = (low + high) // 2
        messages, reward, ended = game.step(f" {middle}. ")
        if ended:
            break
        low, high = (middle + 1, high) if messages[0]["content"] == "higher" else (low, middle - 1)
    assert (reward, ended, messages) == (1.0, True, [])


def test_the_number_is_the_seeds_or_the_rows() -> None:
    found = []
    for seed in (1, 1, 2):
        game = Guess()
        game.reset({"prompt": "Play."}, seed)
        found.append(game.secret)
    assert found[0] == found[1] != found[2]
    game.reset({"prompt": "Play.", "secret": 7}, 1)
    assert game.secret == 7
    assert game.step("seven") == ([{"role": "user", "content": "Say a number."}], 0.0, False)
    assert game.step("9" * 5000)[0][0]["content"] == "lower"
