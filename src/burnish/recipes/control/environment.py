"""The environment of an experiment as a user gives it: an id, or what makes one, with options and wrappers."""

import ast
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from burnish.experience.control.made import IN_MEMORY, Wrappers, name_of
from burnish.experience.control.spaces import RESCALED_ACTIONS
from burnish.options import quoted
from burnish.run import UserError
from burnish.run.plain_yaml import read_yaml


def with_environment(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same options with the name of an `env` that is a function or a class.

    One that other processes cannot import, such as a lambda, is computed in this process. Raises UserError for an
    environment that is already made, because every copy needs one of its own.
    """
    env = given.get("env")
    if isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise UserError(
            f"env is {type(env).__name__}, already made, but every copy needs one of its own: give the class, or a "
            "function that makes one"
        )
    name = name_of(env) if callable(env) else env
    if not isinstance(name, str) or not name.startswith(IN_MEMORY):
        return dict(given) | ({} if env is None else {"env": name})
    if given.get("processes") not in (None, 1):
        raise UserError(
            "env is a function that other processes cannot import: leave processes out, or move it to a module"
        )
    return dict(given) | {"env": name, "processes": 1}


def wrappers_of(given: Any) -> Wrappers:
    """Wrappers as a list of `{"module:Class": options}`, from the innermost on.

    Each may be a name, a name with options as in `module:Class(key=value)`, a mapping of a name to its options, or a
    class or function that can be imported, also as a `functools.partial` with keywords.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    found: list[Mapping[str, Mapping[str, Any]]] = []
    for one in given:
        if callable(one):
            found.append(_named(one))
        elif isinstance(one, str):
            found.append(_called(one))
        elif isinstance(one, Mapping) and all(isinstance(own, Mapping | None) for own in one.values()):
            found += [{str(name): plain_options(own or {}, str(name))} for name, own in one.items()]
        else:
            raise UserError(f"wrappers must be names like module:Class, with their options, not {quoted(one)}")
    return tuple(found)


def _named(wrapper: Any) -> dict[str, dict[str, Any]]:
    """The wrapper that a class, a function or a `functools.partial` of one is, by its name and its options."""
    own: Mapping[str, Any] = {}
    if isinstance(wrapper, partial):
        if wrapper.args:
            raise UserError(f"the wrapper {wrapper!r:.80} has arguments without names: give each as key=value")
        wrapper, own = wrapper.func, wrapper.keywords
    if (name := name_of(wrapper)).startswith(IN_MEMORY):
        raise UserError(f"the wrapper {wrapper!r:.80} cannot be imported: move it to a module, or apply it inside env")
    return {name: plain_options(own, name)}


def _called(text: str) -> dict[str, dict[str, Any]]:
    """The wrapper of a text like `module:Class(key=value, …)`, where values are literals; nothing is evaluated."""
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return {text: {}}
    try:
        call = ast.parse(f"_({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        own = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords if one.arg is not None}
        if len(own) < len(call.keywords):  # a keyword given twice, or **
            raise ValueError
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(
            f"the wrapper {quoted(text)} is not of the form module:Class(key=value, …) with numbers, texts, lists and "
            f"mappings as values, like {RESCALED_ACTIONS}"
        ) from error
    return {name.strip(): plain_options(own, name.strip())}


def plain_options(given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Options as a configuration and a saved policy hold them, with NumPy's numbers as Python's.

    Raises UserError for a value that they cannot hold; `owner` says what the options are of.
    """
    return {str(key): plain_value(value, f"{key} of {owner}") for key, value in given.items()}


def plain_value(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [plain_value(one, where) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain_value(one, where) for key, one in value.items()}
    if value is None or isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    kind = f"{value}" if isinstance(value, float) else f"of type {type(value).__name__}"
    raise UserError(
        f"{where} is {kind}, which no saved policy can hold: give finite numbers, texts, lists and mappings, or let "
        "env be a function that makes the environment with it"
    )


def options_of(texts: Sequence[str]) -> dict[str, Any]:
    """The options of an environment from texts like `gravity=9.8`; a value is read as YAML."""
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip().isidentifier():
            raise UserError(f"--env-option {quoted(text)} is not of the form key=value, like max_episode_steps=200")
        try:
            found[key.strip()] = read_yaml(value)
        except ValueError as error:
            raise UserError(f"--env-option {quoted(text)} has a value that cannot be read: quote it") from error
    return found
