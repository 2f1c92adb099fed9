"""The command line. Flags of a method come from its dataclass and from `config.Settings`; nothing is listed twice."""

import dataclasses
import sys
import traceback
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from burnish.algorithms.table import ALGORITHMS
from burnish.config import Settings, build, read_config
from burnish.run import UserError

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit status 2 and one sentence for a mistake of the user's, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        status = cli.main(arguments, prog_name="burnish", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        if debug:
            traceback.print_exc()
        error.show()
        sys.exit(2)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"burnish: {error}", file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        print(f"burnish: interrupted{': ' + str(error) if str(error) else ''}", file=sys.stderr)
        sys.exit(INTERRUPTED)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="burnish")
def cli() -> None:
    """Post-training for language models, from REINFORCE to DPO."""


def flag(field: dataclasses.Field, hint: Any) -> Callable[[Any], Any]:
    """One dataclass field as a flag that is None where it is not given."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kind = next(k for k in kinds if k is not NoneType)
    name = field.name.rstrip("_").replace("_", "-")
    help = field.metadata["help"]
    if field.default is not None and kind is not bool:
        help += f"  [default: {field.default}]"
    if kind is bool:
        return click.option(f"--{name}/--no-{name}", field.name, default=None, help=help)
    type_ = click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind
    return click.option(f"--{name}", field.name, type=type_, default=None, help=help)


def flags_of(cls: type) -> list[Callable[[Any], Any]]:
    hints = get_type_hints(cls)
    return [flag(f, hints[f.name]) for f in dataclasses.fields(cls)]


def method_command(name: str) -> click.Command:
    """`burnish NAME`: a configuration file's keys, overridden by flags."""
    entry = ALGORITHMS[name]

    def command(config: str | None, **flags: Any) -> None:
        from burnish.recipes.train import run_training

        given = (read_config(config) if config else {}) | {k: v for k, v in flags.items() if v is not None}
        path = run_training(*build(name, given))
        click.echo(path)

    command.__doc__ = f"{entry.summary}.\n\n{(entry.algorithm.__doc__ or '').splitlines()[0]}"
    for decorator in reversed([*flags_of(entry.algorithm), *flags_of(Settings)]):
        command = decorator(command)
    command = click.option("--config", type=click.Path(), help="YAML file of the same keys; flags win")(command)
    return click.command(name)(command)


for _name in ALGORITHMS:
    cli.add_command(method_command(_name))
