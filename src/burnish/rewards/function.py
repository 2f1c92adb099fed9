"""A Python function as a reward: `module:function`, or any callable.

    def score(prompts, responses, answer, **others):
        return [float(a in r) for a, r in zip(answer, responses)]

It is given lists with one entry a completion: the prompts as the user wrote them, the responses as text, and the other
columns of the data by their names. Without `**others` it gets the columns that it names and no more.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from burnish.rewards.completed import BadRewardError, Completed, Reward, named, shown
from burnish.run import UserError

TRL_NAMES = ("prompts", "completions", "responses")


@dataclass(frozen=True)
class FunctionReward:
    """`function(prompts, responses, **columns)`, the columns as keywords.

    With `by_keyword` the call is that of TRL's GRPO trainer instead: `function(prompts=…, completions=…, **columns)`,
    where the completions of conversations are messages. `reserved` are the parameters that are not columns, `takes`
    and `needs` the columns that the function names and those of them without a default.
    """

    name: str
    function: Callable[..., Any]
    by_keyword: bool = False
    reserved: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    takes_all: bool = True

    def __call__(self, completed: Completed) -> Any:
        self._check_columns(completed)
        columns = {k: v for k, v in completed.columns.items() if self.takes_all or k in self.takes}
        if not self.by_keyword:
            return self.function(completed.prompts, completed.responses, **columns)
        lists = dict(zip(TRL_NAMES, (completed.prompts, as_messages(completed), completed.responses), strict=True))
        given = {k: v for k, v in lists.items() if k in self.reserved}
        return self.function(**given, **columns)

    def _check_columns(self, completed: Completed) -> None:
        if self.takes_all and (doubled := sorted(self.reserved & completed.columns.keys())):
            raise BadRewardError(
                f"the reward {self.name} cannot be given the column `{doubled[0]}` of {named(completed.rows)}, since "
                "its parameter of that name is given something else: rename the column",
                completed.rows,
            )
        if missing := [name for name in self.needs if name not in completed.columns]:
            columns = ", ".join(f"`{name}`" for name in completed.columns) or "none"
            raise BadRewardError(
                f"the reward {self.name} needs the column `{missing[0]}`, but besides the prompt the data have "
                f"{columns} (in {named(completed.rows)}): add the column, or give the parameter a default",
                completed.rows,
            )


def function_reward(function: Any, name: str | None = None) -> FunctionReward:
    """A callable as a reward. Raises UserError for what cannot be called with prompts and responses."""
    name = name or str(getattr(function, "__qualname__", type(function).__name__))
    if not callable(function):
        raise UserError(f"the reward {name} is a {type(function).__name__}, which cannot be called: name a function")
    if inspect.isclass(function):
        raise UserError(f"the reward {name} is a class: name a function, or an object that can be called")
    if any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
        raise UserError(f"the reward {name} is an async function, which nobody would await: name a plain one")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some of those written in C have no signature
        return FunctionReward(name, function)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if by_keyword := any(p.name == "completions" for p in by_name):
        reserved = {p.name for p in by_name} & set(TRL_NAMES) | ({"prompts"} if takes_all else set())
    else:
        reserved = _first_two(parameters, name)
    columns = [p for p in by_name if p.name not in reserved]
    needs = tuple(p.name for p in columns if p.default is p.empty)
    return FunctionReward(
        name, function, by_keyword, frozenset(reserved), frozenset(p.name for p in columns), needs, takes_all
    )


def _first_two(parameters: list[inspect.Parameter], name: str) -> set[str]:
    """The names of the parameters that prompts and responses go to. Raises UserError where they have no place."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    room = len(positional) >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not room or any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in positional[2:]):
        raise UserError(
            f"the reward {name} takes ({', '.join(map(str, parameters))}): let it take (prompts, responses), and after "
            "them the columns of the data that it needs, or **columns"
        )
    return {p.name for p in positional[:2]}


def load_function(text: str) -> FunctionReward:
    """The reward `module:function`. Raises UserError where there is no such function, or it cannot be called."""
    return function_reward(imported(text, "--reward"), text)


def imported(text: str, option: str, what: str = "function") -> Any:
    """What `module:name` names, imported as `python -m` would: the current folder counts.

    `option` asked for it, and `what` it asked for is a word for the error messages.

    Raises UserError where the module cannot be imported or has no such name.
    """
    module_name, _, attribute = text.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]):
        raise UserError(
            f"{option} {text} is no module:{what}: write it as you would import it, as in my_module:my_{what}"
        )
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)  # and there it stays, for what the function itself imports
    try:
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of the user's may raise anything
        problem = shown(error)
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            problem = f"there is no module {error.name}, neither in {here} nor installed"
        raise UserError(f"{option} {text} cannot be imported ({problem}): name a module that Python finds") from error
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise UserError(f"{option} {text}: {module.__file__} has no {attribute}: name a {what} of that file") from error


def is_reward(value: object) -> bool:
    """Whether this is a `Reward` already, which takes one argument `completed`, rather than a function to wrap."""
    return isinstance(value, Reward) and list(inspect.signature(value).parameters) == ["completed"]


def as_messages(completed: Completed) -> list[Any]:
    """The responses as TRL gives them: as a message of the assistant's where the prompt is a conversation."""
    pairs = zip(completed.prompts, completed.responses, strict=True)
    return [r if isinstance(p, str) else [{"role": "assistant", "content": r}] for p, r in pairs]
