"""Python functions as rewards: their arguments, and the errors for functions that cannot be called with them."""

import functools
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from burnish.rewards.builtin import TextReward
from burnish.rewards.completed import BadRewardError, checked_scores
from burnish.rewards.function import function_reward, is_reward, load_function
from burnish.run import UserError

from .conversations import completed

FOUND = completed("yes", "no", columns={"answer": ["yes", "yes"], "level": [1, 2]})


def test_prompts_responses_and_the_columns_that_it_names() -> None:
    def f(prompts: Any, responses: Any, answer: Any, factor: float = 10.0) -> list[float]:
        assert prompts == ["p0", "p1"]
        return [factor * (r == a) for r, a in zip(responses, answer, strict=True)]

    assert checked_scores(function_reward(f), FOUND) == [10.0, 0.0]


def test_all_columns_with_keyword_arguments() -> None:
    def f(p: Any, r: Any, **columns: Any) -> list[float]:
        assert columns == {"answer": ["yes", "yes"], "level": [1, 2]}
        return [len(one) + len(other) for one, other in zip(p, r, strict=True)]

    assert checked_scores(function_reward(f), FOUND) == [5.0, 4.0]


def test_no_columns_if_it_names_none() -> None:
    assert checked_scores(function_reward(lambda p, r: [len(one) for one in r]), FOUND) == [3.0, 2.0]


def test_objects_partials_and_methods_are_functions_too() -> None:
    class Judge:
        def __call__(self, prompts: Any, responses: Any) -> list[float]:
            return [1.0] * len(responses)

        def method(self, prompts: Any, responses: Any) -> list[float]:
            return [2.0] * len(responses)

    def f(weight: float, prompts: Any, responses: Any) -> list[float]:
        return [weight] * len(responses)

    rewards = [function_reward(one) for one in (Judge(), Judge().method, functools.partial(f, 3.0))]
    assert [checked_scores(reward, FOUND) for reward in rewards] == [[1.0] * 2, [2.0] * 2, [3.0] * 2]
    assert rewards[0].name == "Judge"


def test_trls_functions_work_unchanged() -> None:
    """TRL calls by keyword; a conversation's completion is a list with one message."""

    def length(completions: Any, **others: Any) -> list[float]:
        assert others == {"prompts": ["p0", "p1"], "answer": ["yes", "yes"], "level": [1, 2]}
        return [float(len(c)) for c in completions]

    def named(level: Any, completions: Any) -> list[float]:
        return [n + len(c) for n, c in zip(level, completions, strict=True)]

    assert checked_scores(function_reward(length), FOUND) == [3.0, 2.0]
    assert checked_scores(function_reward(named), FOUND) == [4.0, 4.0]
    talk = completed("yes")
    talk.prompts[0] = [{"role": "user", "content": "p0"}]
    (messages,) = function_reward(lambda completions: completions)(talk)
    assert messages == [{"role": "assistant", "content": "yes"}]


def test_a_missing_column_is_named() -> None:
    reward = function_reward(lambda prompts, responses, solution: [0.0], "mine")
    with pytest.raises(
        BadRewardError, match=r"mine needs the column `solution`, but .* has `answer`, `level` \(in row"
    ):
        checked_scores(reward, FOUND)
    with pytest.raises(BadRewardError, match=r"has none \(in row 10\)"):
        checked_scores(reward, completed("a"))


def test_a_column_with_the_name_of_a_parameter_is_an_error() -> None:
    found = completed("a", columns={"responses": ["b"]})
    with pytest.raises(BadRewardError, match="the column `responses` of row 10"):
        checked_scores(function_reward(lambda prompts, responses, **others: [0.0]), found)
    assert checked_scores(function_reward(lambda prompts, responses: [1.0]), found) == [1.0]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (lambda responses: [], r"takes \(responses\): its parameters must be \(prompts, responses\)"),
        (lambda **columns: [], r"takes \(\*\*columns\)"),
        (lambda p, r, x, /: [], r"takes \(p, r, x\)"),
        (7, "is a int, not a function"),
        (dict, "is a class"),
    ],
)
def test_an_object_that_cannot_be_called_so_is_an_error(value: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        function_reward(value, "mine")


def test_an_async_function_is_an_error() -> None:
    async def f(prompts: Any, responses: Any) -> list[float]:
        return [0.0]

    with pytest.raises(UserError, match="is an async function"):
        function_reward(f)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder that is not on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_of_a_file_in_the_current_folder(here: Path) -> None:
    (here / "scoring_helper.py").write_text("WEIGHT = 3.0")
    (here / "scoring_own.py").write_text(
        "class Scorer:\n"
        "    def score(self, prompts, responses, level):\n"
        "        from scoring_helper import WEIGHT\n"
        "        return [WEIGHT * n for n in level]\n"
        "scorer = Scorer()\n"
        "number = 7\n"
    )
    reward = load_function("scoring_own:scorer.score")
    assert reward.name == "scoring_own:scorer.score"
    assert checked_scores(reward, FOUND) == [3.0, 6.0]
    with pytest.raises(UserError, match=r"scoring_own\.py has no scores: "):
        load_function("scoring_own:scores")
    with pytest.raises(UserError, match="the reward scoring_own:number is a int, not a function"):
        load_function("scoring_own:number")


def test_an_installed_function() -> None:
    with pytest.raises(UserError, match=r"takes \(x\)"):
        load_function("math:sqrt")
    assert load_function("math:dist").function is math.dist
    assert load_function("builtins:max").takes_all  # it has no signature


def test_import_errors_name_the_cause(here: Path) -> None:
    (here / "scoring_broken.py").write_text("import no_such_thing_at_all")
    (here / "scoring_raising.py").write_text("raise ValueError('not today')")
    (here / "scoring_leaving.py").write_text("import sys; sys.exit(0)")
    with pytest.raises(UserError, match=r"there is no module scoring_absent in .* or among the installed packages"):
        load_function("scoring_absent:f")
    with pytest.raises(UserError, match=r"ModuleNotFoundError: No module named 'no_such_thing_at_all'"):
        load_function("scoring_broken:f")
    with pytest.raises(UserError, match=r"ValueError: not today"):
        load_function("scoring_raising:f")
    with pytest.raises(UserError, match=r"scoring_leaving:f cannot be imported \(SystemExit: 0\)"):
        load_function("scoring_leaving:f")
    for text in ("rewards.py:", ":f", "a b:c", "my-rewards:f", "x:y:z"):
        with pytest.raises(UserError, match="does not have the form module:function"):
            load_function(text)


def test_rewards_and_functions_are_distinguished() -> None:
    class Judge:
        name = "judge"

        def __call__(self, prompts: Any, responses: Any) -> list[float]:
            return []

    assert is_reward(TextReward("mine", lambda texts: [0.0] * len(texts)))
    assert is_reward(function_reward(lambda p, r: []))
    assert not is_reward(Judge())
    assert not is_reward(lambda completed: [])
