"""Environments by name: what `--environment` accepts."""

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from burnish.environments import openenv, textarena
from burnish.environments.builtin import Calculator, Guess, Lookup
from burnish.environments.gymlike import GymEnvironment, OwnEnvironment, TextEnvironment
from burnish.environments.interface import Environment, Maker
from burnish.environments.tools import ToolEnvironment, tools_of
from burnish.run import UserCodeError, UserError, imported, user_code

BUILTIN: dict[str, type[Any]] = {"calculator": Calculator, "lookup": Lookup, "guess": Guess}
POSSIBLE = "'calculator', 'lookup', 'guess', textarena/NAME, openenv:ADDRESS, or module:Class"


def resolve_environment(given: Any, tokenizer: Any = None, seconds: float = 10.0) -> Maker:
    """What makes the environments that a text names, or a class or function of the user's own.

    A class has one of four interfaces: Burnish's own (`reset(row, seed)`, `step(text)`), Gymnasium's on text, that of
    a text environment (`init(prompt)`), or tools as TRL's `environment_factory` takes them. An object is made and
    looked at once. Raises UserError for anything else.
    """
    if not isinstance(given, str):
        name = str(getattr(given, "__qualname__", type(given).__name__))
        if not callable(given):
            raise UserError(f"the environment {name} is not a class: give a class without arguments, or {POSSIBLE}")
        return own(name, given, tokenizer, seconds)
    if given in BUILTIN:
        return own(given, BUILTIN[given], tokenizer, seconds)
    if given.startswith(textarena.PREFIX):
        game = given.removeprefix(textarena.PREFIX)
        textarena.made(game)
        return Maker(given, partial(textarena.TextArena, game))
    if given.startswith(openenv.PREFIX):
        address = given.removeprefix(openenv.PREFIX)
        return Maker(given, partial(openenv.OpenEnv, address, openenv.field_of(address)))
    if ":" in given:
        return own(given, imported(given, "--environment", "Class"), tokenizer, seconds)
    names = {name.partition("/")[0].partition(":")[0]: name for name in (*BUILTIN, textarena.PREFIX, openenv.PREFIX)}
    near = difflib.get_close_matches(given.partition("/")[0].lower(), names, n=1)
    hint = f"; did you mean {names[near[0]]}?" if near else ""
    raise UserError(f"--environment {given} is no known environment: give {POSSIBLE}{hint}")


def own(name: str, factory: Any, tokenizer: Any, seconds: float) -> Maker:
    """What makes environments with a class: `factory` has no arguments."""
    if not callable(factory):
        raise UserError(f"--environment {name} is a {type(factory).__name__}: name a class")
    try:
        with user_code():
            wrap = kind_of(name, factory(), tokenizer, seconds)
    except UserCodeError as error:
        raise UserError(f"--environment {name} cannot be made ({error}): its class must take no arguments") from error

    def make() -> Environment:
        return wrap(factory())

    return Maker(name, make)


def kind_of(name: str, played: Any, tokenizer: Any, seconds: float) -> Callable[[Any], Environment]:
    """What makes an environment of an object, by the methods that it has."""
    if isinstance(played, Environment):
        return lambda one: one
    if callable(getattr(played, "step", None)):
        if callable(getattr(played, "init", None)):
            return TextEnvironment
        if callable(getattr(played, "reset", None)):
            takes = inspect.signature(played.reset).parameters
            return OwnEnvironment if "row" in takes else GymEnvironment
    if callable(getattr(played, "reset", None)):
        if tools_of(played):
            return partial(ToolEnvironment, tokenizer=tokenizer, seconds=seconds)
        raise UserError(
            f"the environment {name} has neither a method step nor a tool: write one, see docs/dialogues.md"
        )
    raise UserError(f"the environment {name} has no method reset: write one, see docs/dialogues.md")
