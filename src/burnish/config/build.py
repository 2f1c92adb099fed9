"""An algorithm and its settings from one flat set of keys, and back."""

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

from burnish.algorithms.interface import Algorithm, name_of
from burnish.config.checks import checked
from burnish.config.parse import construct, option_names, suggestion
from burnish.config.settings import Settings
from burnish.run import UserError


def experience_of(algorithm: type[Algorithm]) -> type[Any] | None:
    """The class of the experience that an online method draws its batches from; None for one that reads rows."""
    if not algorithm.experience:
        return None
    module, _, name = algorithm.experience.partition(":")
    return getattr(import_module(module), name)


def option_types(algorithm: type[Algorithm]) -> list[type[Any]]:
    """The dataclasses whose fields are the options of a method: its own, its experience's, and the common ones."""
    experience = experience_of(algorithm)
    return [algorithm, *([experience] if experience else []), Settings]


def build(algorithm: type[Algorithm], options: dict[str, Any]) -> tuple[Any, Settings]:
    """An `algorithm` object and checked settings from flat options. Raises UserError for a wrong key or value.

    The key `experience` may hold an experience object; else one is made from the options where the method needs one.
    """
    name = name_of(algorithm)
    if options.get("algorithm", name) != name:
        raise UserError(f"the configuration is for '{options['algorithm']}', not for '{name}'")
    given = {key.replace("-", "_"): value for key, value in options.items() if key != "algorithm"}
    experience = given.pop("experience", None)
    types = [algorithm, Settings] if experience is not None else option_types(algorithm)
    known = set().union(*map(option_names, types))
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for {name}{suggestion(key, known)}")
    parts = [construct(cls, {k: v for k, v in given.items() if k in option_names(cls)}) for cls in types]
    if len(parts) == 3:
        experience = parts[1]
    return parts[0], checked(parts[0], dataclasses.replace(parts[-1], experience=experience))


def as_dict(algorithm: Algorithm, settings: Settings) -> dict[str, Any]:
    """The resolved configuration, as `build` reads it back."""
    online: dict[str, Any] = {}
    if settings.experience is not None:
        online = values_of(settings.experience)
        if online.get("reward") is not None:
            online["reward"] = reward_name(online["reward"])
    return {"algorithm": name_of(algorithm)} | values_of(algorithm) | online | values_of(settings)


def values_of(options: Any) -> dict[str, Any]:
    """The values of a dataclass's options, by name."""
    names = option_names(type(options))
    return {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name in names}


def reward_name(reward: Any) -> str:
    """A reward as a file can hold it: a Python function as `module:function`."""
    if isinstance(reward, str | Path):
        return str(reward)
    module, name = getattr(reward, "__module__", None), getattr(reward, "__qualname__", None)
    return f"{module}:{name}" if module and name else str(getattr(reward, "name", type(reward).__name__))
