"""Environments that a function makes in place of a registered id, and wrappers by name.

A function or class that can be imported is named `module:name`, so that other processes and a saved policy find it
again. Any other, such as a lambda, has a name that is known in this process alone.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from burnish.run import UserError, imported

Wrappers = Sequence[Mapping[str, Mapping[str, Any]]]
"""From the innermost on: one `module:Class` each, with its options."""

IN_MEMORY = "in-memory:"
_MADE: dict[str, Callable[..., gymnasium.Env]] = {}


def name_of(make: Callable[..., gymnasium.Env]) -> str:
    """The name by which `spec_of` finds a function or class that makes an environment."""
    module, qualified = getattr(make, "__module__", None), getattr(make, "__qualname__", type(make).__name__)
    if module and module != "__main__" and attribute(module, qualified) is make:
        return f"{module}:{qualified}"
    label = "".join(c for c in qualified.rpartition(".")[2] if c.isalnum() or c == "_")
    known = next((name for name, other in _MADE.items() if other is make), None)
    name = known or f"{IN_MEMORY}{label or 'environment'}-{len(_MADE)}"
    _MADE[name] = make
    return name


def spec_of(name: str) -> EnvSpec | None:
    """The environment that a function of this name makes; None where there is none.

    `module:name` is looked up in the module, which has to be imported already. Raises UserError for an environment in
    memory that is not in this process's.
    """
    if name.startswith(IN_MEMORY):
        if name not in _MADE:
            raise UserError(
                f"the environment {name.removeprefix(IN_MEMORY)} was made by a function that cannot be imported: give "
                "it again, as env, or put the function in a module"
            )
        make: Any = _MADE[name]
    else:
        module, _, qualified = name.rpartition(":")
        make = attribute(module, qualified) if module else None
    if not callable(make):
        return None
    return EnvSpec(id="".join(c if c.isalnum() or c in ":_." else "_" for c in name), entry_point=make)


def attribute(module: str, qualified: str) -> Any:
    """The object of this name in a module that can be imported, or None."""
    try:
        return reduce(getattr, qualified.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        return None


def wrapped(spec: EnvSpec, wrappers: Wrappers) -> EnvSpec:
    """The same environment in these wrappers. Raises UserError where one cannot be imported."""
    added = []
    for one in wrappers:
        for name, options in one.items():
            imported(name, "wrapper", "Wrapper")
            added.append(WrapperSpec(name, name, dict(options)))
    return dataclasses.replace(spec, additional_wrappers=(*spec.additional_wrappers, *added)) if added else spec
