"""Environments by name, class or function; which interface a class has; what is refused."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from burnish.environments.builtin import Guess
from burnish.environments.gymlike import GymEnvironment, OwnEnvironment, TextEnvironment
from burnish.environments.load import resolve_environment
from burnish.environments.tools import ToolEnvironment
from burnish.run import UserError

CLASSES = '''
class Own:
    def reset(self, row, seed): ...
    def step(self, text): ...

class Gym:
    def reset(self, *, seed=None, options=None): ...
    def step(self, action): ...

class Text:
    def init(self, prompt): ...
    def step(self, action): ...

class Tools:
    def reset(self, **columns): ...
    def look(self) -> str:
        """Looks around."""

class Empty:
    def reset(self): ...

class Nothing: ...

class Needy:
    def __init__(self, size): ...

number = 3
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "playing_own.py").write_text(CLASSES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("playing_own:Own", OwnEnvironment),
        ("playing_own:Gym", GymEnvironment),
        ("playing_own:Text", TextEnvironment),
        ("playing_own:Tools", ToolEnvironment),
        ("calculator", ToolEnvironment),
        ("lookup", ToolEnvironment),
        ("guess", Guess),
    ],
)
def test_a_name_is_an_environment_of_its_kind(name: str, kind: type) -> None:
    found = resolve_environment(name)
    assert found.name == name
    one, other = found.make(), found.make()
    assert type(one) is kind
    assert one is not other


@pytest.mark.usefixtures("module")
def test_seconds_and_tokenizer_reach_the_tools() -> None:
    made: Any = resolve_environment("playing_own:Tools", "a tokenizer", 2.5).make()
    assert (made.tokenizer, made.seconds) == ("a tokenizer", 2.5)


def test_a_class_or_a_function_of_the_users_own() -> None:
    assert resolve_environment(Guess).name == "Guess"
    assert isinstance(resolve_environment(partial(Guess)).make(), Guess)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("chess", "is no known environment: give 'calculator', 'lookup'"),
        ("calculater", r"did you mean calculator\?$"),
        ("textarina/Game-v0", r"did you mean textarena/\?$"),
        ("playing_own:Absent", "has no Absent: name a Class in that file"),
        ("playing_absent:Own", "cannot be imported"),
        ("playing_own:number", "is a int: name a class"),
        ("playing_own:Needy", "must take no arguments"),
        ("playing_own:Nothing", "has no method reset: write one, see docs/dialogues.md"),
        ("playing_own:Empty", "neither a method step nor a tool"),
        (3, "is not a class"),
    ],
)
def test_what_is_no_environment_is_refused(given: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        resolve_environment(given)
