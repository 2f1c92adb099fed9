"""A Python function as a reward: `module:function`, or any callable.

    def score(prompts, responses, answer, **others):
        return [float(a in r) for a, r in zip(answer, responses)]

Its arguments are lists with one entry per completion: the prompts as the user wrote them, the responses as text, and
the other columns of the data as keywords. Without `**others` only the columns that it names are passed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from burnish.rewards.completed import BadRewardError, Completed, Reward, lacks_column, named
from burnish.run import UserError, imported

TRL_NAMES = ("prompts", "completions", "responses")


@dataclass(frozen=True)
class FunctionReward:
    """A reward that calls `function(prompts, responses, **columns)`.

    With `by_keyword` the call is that of TRL's GRPO trainer instead: `function(prompts=…, completions=…, **columns)`,
    where the completions of conversations are messages. `reserved` are the parameters that are not columns, `takes` the
    columns that the function names, and `needs` those without a default.
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
                f"the reward {self.name} cannot take the column `{doubled[0]}` of {named(completed.rows)}, because "
                "its parameter of that name has another meaning: rename the column",
                completed.rows,
            )
        if missing := [name for name in self.needs if name not in completed.columns]:
            advice = "add the column, or give the parameter a default"
            raise lacks_column(self.name, missing[0], completed, completed.rows, advice)


def function_reward(function: Any, name: str | None = None) -> FunctionReward:
    """Wrap a callable as a reward. Raises UserError if it cannot be called with prompts and responses."""
    name = name or str(getattr(function, "__qualname__", type(function).__name__))
    if not callable(function):
        raise UserError(f"the reward {name} is a {type(function).__name__}, not a function: name a function")
    if inspect.isclass(function):
        raise UserError(f"the reward {name} is a class: name a function or a callable object")
    if any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
        raise UserError(f"the reward {name} is an async function, which is not supported: name an ordinary function")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some functions written in C have no signature
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
    """The names of the parameters for prompts and responses. Raises UserError if there are none."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    room = len(positional) >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not room or any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in positional[2:]):
        raise UserError(
            f"the reward {name} takes ({', '.join(map(str, parameters))}): its parameters must be (prompts, responses) "
            "and then the columns of the data that it needs, or **columns"
        )
    return {p.name for p in positional[:2]}


def load_function(text: str) -> FunctionReward:
    """Load the reward `module:function`. Raises UserError if it does not exist or cannot be called."""
    return function_reward(imported(text, "--reward"), text)


def is_reward(value: object) -> bool:
    """Whether `value` is a `Reward`, whose only parameter is `completed`, rather than a function to wrap."""
    return isinstance(value, Reward) and list(inspect.signature(value).parameters) == ["completed"]


def as_messages(completed: Completed) -> list[Any]:
    """The responses as TRL passes them: as an assistant message if the prompt is a conversation, otherwise as text; of
    a dialogue with an environment all messages behind the opening."""
    if completed.turns is not None:
        return completed.turns
    pairs = zip(completed.prompts, completed.responses, strict=True)
    return [r if isinstance(p, str) else [{"role": "assistant", "content": r}] for p, r in pairs]
