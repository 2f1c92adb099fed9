"""One command a method: `burnish dpo`, and every other of the table."""

from typing import Any

import click

from burnish.algorithms.table import ALGORITHMS
from burnish.cli.flags import flags_of, tracebacks, with_flags
from burnish.config import build, option_types, read_config


def method_command(name: str) -> click.Command:
    """`burnish NAME`: a configuration file's keys, overridden by flags."""
    entry = ALGORITHMS[name]

    def command(config: str | None, **flags: Any) -> None:
        from burnish.recipes.train.run import run_training

        given = with_flags(read_config(config) if config else {}, flags)
        with tracebacks(given, flags):
            algorithm, settings = build(name, given)
            path = run_training(algorithm, settings)
        if not settings.quiet:
            click.echo(path)

    command.__doc__ = f"{entry.summary}.\n\n{(entry.algorithm.__doc__ or '').splitlines()[0]}"
    for decorator in reversed([flag for cls in option_types(name) for flag in flags_of(cls, entry.learning_rate)]):
        command = decorator(command)
    command = click.option("--config", type=click.Path(), help="YAML file of the same keys; flags win")(command)
    return click.command(name)(command)
