"""An algorithm and its settings from one flat set of keys, and back."""

from __future__ import annotations  # Algorithm and Experience import PyTorch, and are imported where they are used

import dataclasses
import sys
from collections import Counter
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.algorithms.table import CONTROL, LANGUAGE, load
from burnish.config.checks import checked
from burnish.config.parse import FLAGS_ONLY, construct, option_names, suggestion
from burnish.config.presets import expanded
from burnish.config.settings import Settings
from burnish.data.names import in_memory
from burnish.run import UserError, imported

if TYPE_CHECKING:
    from burnish.algorithms.interface import Algorithm


def algorithm_of(text: str) -> type[Algorithm]:
    """The class of an algorithm as a configuration names it: a built-in method, or "module:Class".

    Raises UserError if there is no such algorithm.
    """
    if ":" in text:
        from burnish.algorithms.interface import Algorithm

        return class_named(text, "algorithm", Algorithm)
    if text not in LANGUAGE | CONTROL:
        raise UserError(f"no such algorithm '{text}'{suggestion(text, set(LANGUAGE | CONTROL))}")
    return load(text)


def class_named(text: str, key: str, base: type) -> type[Any]:
    """The subclass of `base` that the key's value "module:Class" names. Raises UserError where it names none."""
    found = imported(text, key, "class")
    if isinstance(found, type) and issubclass(found, base):
        return found
    raise UserError(f"{key} {text} must name a class derived from burnish.{base.__name__}")


def import_path(thing: Any) -> str:
    """Where a class or function is defined, as "module:name".

    The module of a script that is being run is named as its file is, so that others can import it.
    """
    module = thing.__module__
    if module == "__main__":
        main = sys.modules[module]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec else Path(file).stem if file else module
    return f"{module}:{thing.__qualname__}"


def written_name(algorithm: type[Algorithm]) -> str:
    """How a configuration names an algorithm: a built-in method by its name, any other by its import path."""
    entry = (LANGUAGE | CONTROL).get(algorithm.name)
    own = (algorithm.__module__, algorithm.__qualname__)
    return (
        algorithm.name if entry and own == (f"burnish.algorithms.{entry.module}", entry.cls) else import_path(algorithm)
    )


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

    The key `experience` may hold an experience, or name a class of experiences as "module:Class", whose options are
    then keys like all others. By default it is the method's own.
    """
    from burnish.algorithms.interface import name_of
    from burnish.experience.interface import Experience

    name = name_of(algorithm)
    if options.get("algorithm", name) not in (name, written_name(algorithm)):
        raise UserError(f"the configuration is for '{options['algorithm']}', not for '{name}'")
    given = {key.replace("-", "_"): value for key, value in options.items() if key != "algorithm"}
    given = expanded(algorithm, given)
    experience = given.pop("experience", None)
    if isinstance(experience, str):
        cls: type[Any] | None = class_named(experience, "experience", Experience)
    elif experience is None:
        cls = experience_of(algorithm)
    elif isinstance(experience, Experience):
        cls = type(experience)
        if doubled := option_names(cls) & given.keys():
            raise UserError(f"{min(doubled)} belongs to the experience: set it there, as {cls.__name__}(…)")
        given |= values_of(experience)
    else:
        raise UserError(f"experience must be a burnish.Experience or 'module:Class', not {experience!r}")
    types = [algorithm, *([cls] if cls else []), Settings]
    check_options(types)
    known = set().union(*map(option_names, types))
    for key in given:
        if key not in known:
            raise UserError(f"unknown key '{key}' for {name}{suggestion(key, known)}")
    parts = [construct(cls, {k: v for k, v in given.items() if k in option_names(cls)}) for cls in types]
    if not isinstance(experience, Experience):
        experience = parts[1] if cls else None
    return parts[0], checked(parts[0], dataclasses.replace(parts[-1], experience=experience))


def check_options(types: list[type[Any]]) -> None:
    """Raise UserError where a configuration could not hold all fields of these dataclasses, each under its own name."""
    for cls in types[:-1]:
        for field in dataclasses.fields(cls):
            if field.name not in option_names(cls):
                raise UserError(
                    f"{cls.__name__}.{field.name} is not an option: make it with burnish.option(default, help)"
                )
    for key, times in Counter(key for cls in types for key in option_names(cls)).items():
        if times > 1:
            owners = " and ".join(cls.__name__ for cls in types if key in option_names(cls))
            raise UserError(
                f"{key} is an option of {owners}, but a configuration has one key {key}: rename one of them"
            )


def as_dict(algorithm: Algorithm, settings: Settings) -> dict[str, Any]:
    """The resolved configuration, as `build` reads it back."""
    online: dict[str, Any] = {}
    if settings.experience is not None:
        cls = type(settings.experience)
        if cls is not experience_of(type(algorithm)):
            online["experience"] = import_path(cls)
        online |= {key: written_value(value) for key, value in values_of(settings.experience).items()}
    own = {key: value for key, value in values_of(settings).items() if key not in FLAGS_ONLY}
    return {"algorithm": written_name(type(algorithm))} | values_of(algorithm) | online | own


def defaults(algorithm: Algorithm, settings: Settings) -> dict[str, Any]:
    """What `as_dict` has for options that are not given: what a configuration of an older version meant by their
    absence."""
    types: list[type[Any]] = [type(algorithm), type(settings.experience), Settings]
    return {
        field.name: field.default
        for cls in types
        if dataclasses.is_dataclass(cls)
        for field in dataclasses.fields(cls)
        if field.name in option_names(cls) - FLAGS_ONLY and field.default is not dataclasses.MISSING
    }


def values_of(options: Any) -> dict[str, Any]:
    """The values of a dataclass's options, by name."""
    names = option_names(type(options))
    return {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name in names}


def written_value(value: Any) -> Any:
    """An option of an experience as a file can hold it: what Python can import as "module:function", any other object
    by its name alone, see `burnish.data.names.in_memory`."""
    if value is None or isinstance(value, str | int | float | list | tuple | dict):
        return value
    if isinstance(value, Path):
        return str(value)
    if importable(value):
        return import_path(value)
    own = getattr(value, "__qualname__", None) or getattr(value, "name", None)
    return in_memory(str(own or type(value).__name__))


def importable(thing: Any) -> bool:
    """Whether another process finds the thing under its `import_path`."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or import_path(thing).startswith("__main__:"):
        return False
    return reduce(lambda found, part: getattr(found, part, None), name.split("."), sys.modules.get(module)) is thing
