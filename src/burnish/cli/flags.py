"""Command-line flags from the fields of dataclasses, so that no option is listed twice."""

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from burnish.config import ELSEWHERE, INSTEAD, Settings, construct, option_names, translation
from burnish.data.names import joined
from burnish.options import shown
from burnish.run import UserError


def flag(field: dataclasses.Field, hint: Any, rate: float | None = None) -> Callable[[Any], Any]:
    """One dataclass field as a flag, None if not given; `rate` is the method's own learning rate."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kind = next(k for k in kinds if k is not NoneType)
    name = field.name.rstrip("_").replace("_", "-")
    help = field.metadata["help"].replace("default: the method's own", f"default: {rate}")
    notes = [f"default: {field.default}"] if field.default is not None and kind is not bool else []
    notes += [f"range: {allowed}"] if (allowed := shown(field)) else []
    if notes:
        help += f"  [{'; '.join(notes)}]"
    if kind is bool:
        return click.option(f"--{name}/--no-{name}", field.name, default=None, help=help)
    if field.metadata.get("several"):
        return repeated(f"--{name}", field.name, help=help)
    type_ = click.Choice(get_args(kind)) if get_origin(kind) is Literal else str if kind is Any else kind
    return click.option(f"--{name}", field.name, type=type_, default=None, help=help)


def repeated(*names: str, default: str | None = None, required: bool = False, help: str) -> Callable[[Any], Any]:
    """An option of text that may be given several times; the texts are joined with commas."""

    def join(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
        return joined(values) if values else default

    return click.option(*names, multiple=True, required=required, callback=join, help=help)


def named(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """A list of names with commas."""
    return tuple(value.split(",")) if value else ()


def flags_of(cls: type, rate: float | None = None) -> list[Callable[[Any], Any]]:
    hints = get_type_hints(cls)
    return [flag(f, hints[f.name], rate) for f in dataclasses.fields(cls) if f.name in option_names(cls)]


def with_flags(given: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """A file's keys, overridden by flags; --steps also replaces a file's epochs, and --epochs its steps."""
    flags = {key: value for key, value in flags.items() if value is not None}
    lengths = {"steps", "epochs"}
    replaced = lengths if lengths & flags.keys() else set()
    return {key: value for key, value in given.items() if key not in replaced} | flags


@contextmanager
def tracebacks(given: dict[str, Any], flags: dict[str, Any]) -> Iterator[None]:
    """Show tracebacks where a configuration file sets `debug`, which `main` does not see."""
    try:
        yield
    except UserError:
        if given.get("debug") and not flags["debug"]:
            traceback.print_exc()
        raise


def common(*names: str) -> Callable[[Any], Any]:
    """The named flags of `Settings`, for commands that do not train."""
    hints = get_type_hints(Settings)
    chosen = [flag(f, hints[f.name]) for f in dataclasses.fields(Settings) if f.name in names]

    def decorate(command: Any) -> Any:
        for decorator in reversed(chosen):
            command = decorator(command)
        return command

    return decorate


def settings_of(flags: dict[str, Any]) -> Settings:
    return construct(Settings, {key: value for key, value in flags.items() if value is not None})


ELSEWHERE_APPLIES = {"model", "data", "learning_rate"}
"""Flags of the commands that train."""


def translated(error: click.NoSuchOption) -> click.NoSuchOption:
    """The error about an option that other libraries have, with the command's own name for it."""
    if (ctx := error.ctx) is None:
        return error
    key = error.option_name.lstrip("-").replace("-", "_")
    own = {p.name: p.opts[0] for p in ctx.command.params if isinstance(p, click.Option)}
    arguments = [p for p in ctx.command.params if isinstance(p, click.Argument)]
    if key in INSTEAD and own.keys() >= ELSEWHERE_APPLIES:
        advice = f": {INSTEAD[key]}"
    elif any(p.name in (key, f"{key}s") for p in arguments):
        usage = " ".join([ctx.command_path, *(p.make_metavar(ctx) for p in arguments)])
        advice = f": give it without a name: {usage}"
    elif name := own.get(ELSEWHERE.get(key, "")):
        advice = translation(key, name)
    else:
        return error
    return click.NoSuchOption(error.option_name, f"No such option '{error.option_name}'{advice}", ctx=ctx)
