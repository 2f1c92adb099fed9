"""reasoning_gym's tasks: their keys, their prompts, and what is said where the package is missing."""

import importlib.util
from fractions import Fraction

import pytest

from burnish.data import sources
from burnish.data.columns import column
from burnish.data.tasks import gym
from burnish.data.tasks.gym import difficulty, is_right, literal, value
from burnish.run import BurnishWarning, UserError

INSTALLED = importlib.util.find_spec("reasoning_gym") is not None


def test_keys_are_checked_exactly() -> None:
    assert value("4 - 1 / 3") == Fraction(11, 3)
    assert value("-5 * -(6 + 1)") == 35
    with pytest.raises(ZeroDivisionError):
        value("1 / 0")
    with pytest.raises(ValueError, match="is no sum or product"):
        value("2 ** 99999999999")
    row = {"answer": "8", "metadata": {"expression": "4 / 1 / 7"}}
    assert not is_right("basic_arithmetic", row)
    assert is_right("basic_arithmetic", row | {"answer": "4/7"})
    assert not is_right("basic_arithmetic", {"answer": "1", "metadata": {"expression": "0 / 0"}})
    assert is_right("gcd", {"answer": "6", "metadata": {"numbers": [12, 18]}})
    assert not is_right("gcd", {"answer": "3", "metadata": {"numbers": [12, 18]}})
    assert is_right("spell_backward", {"answer": "tac", "metadata": {"word": "cat"}})
    assert is_right("syllogism", {"answer": "Yes", "metadata": {}})  # nothing of ours checks it


def test_options_are_numbers_words_or_several() -> None:
    assert [literal(one) for one in ("2", ".5", "true", "+|-", "x")] == [2, 0.5, True, ("+", "-"), "x"]


def test_the_difficulty_is_the_rows_own() -> None:
    found = {"difficulty": {"num_terms": (2, 6), "numbers": (1, 3), "x": (0, 1)}, "num_terms": 4, "numbers": [7, 7]}
    assert difficulty(found) == "num_terms 4, numbers 2"
    assert difficulty({}) == "all"


@pytest.mark.skipif(INSTALLED, reason="reasoning_gym is installed")
def test_the_missing_package_is_named() -> None:
    with pytest.raises(UserError, match=r"need the package reasoning_gym: pip install 'burnish\[reasoning\]'"):
        sources.load("task:reasoning_gym/chain_sum")


def test_a_package_that_cannot_be_imported_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'sympy'")

    monkeypatch.setattr(gym, "find_spec", lambda name: object())
    monkeypatch.setattr(gym.importlib, "import_module", broken)
    with pytest.raises(
        UserError, match=r"reasoning_gym cannot be imported: pip install .* \(No module named 'sympy'\)"
    ):
        gym.package()


@pytest.mark.skipif(not INSTALLED, reason="reasoning_gym is not installed")
def test_rows_of_the_real_package() -> None:
    dataset = sources.load("task:reasoning_gym/chain_sum:rows=20,min_terms=2,max_terms=2")
    rows = list(zip(column(dataset, "prompt"), column(dataset, "answer"), strict=True))
    assert all(value(prompt.removesuffix(" =")) == int(answer) for prompt, answer in rows)
    assert column(dataset, "metadata")[0]["options"] == {"min_terms": 2, "max_terms": 2}
    long = sources.load("task:reasoning_gym/chain_sum:rows=1,short=false")
    assert "arithmetic problem" in long[0]["prompt"]
    wrong = "task:reasoning_gym/basic_arithmetic:rows=20,allow_parentheses=false,operators=+|/"
    with pytest.warns(BurnishWarning, match="whose own answer is wrong were left out"):
        sources.load(wrong)
    assert "completion" not in sources.load("task:reasoning_gym/rush_hour:rows=2").column_names
    with pytest.raises(UserError, match="reasoning_gym has no task 'chain_sam'; did you mean chain_sum"):
        sources.load("task:reasoning_gym/chain_sam")
    with pytest.raises(UserError, match="no option min_term; did you mean min_terms"):
        sources.load("task:reasoning_gym/chain_sum:min_term=2")
    with pytest.raises(UserError, match="reasoning_gym refuses these options"):
        sources.load("task:reasoning_gym/chain_sum:min_terms=9,max_terms=2")
    with pytest.raises(UserError, match="did you mean reasoning_gym/spell_backward"):
        sources.load("task:spell_backward")
