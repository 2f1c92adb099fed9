"""One command per method: `burnish dpo`, and every other of the table."""

from typing import Any

import click

from burnish.algorithms.likes import libraries
from burnish.algorithms.table import LANGUAGE, load
from burnish.cli.flags import flags_of, tracebacks, with_flags
from burnish.config import build, option_types, read_config
from burnish.config.presets import remark
from burnish.run import printable


def method_command(name: str) -> click.Command:
    """`burnish NAME`: the keys of a configuration file, overridden by flags."""
    algorithm = load(name)

    def command(config: str | None, **flags: Any) -> None:
        from burnish.recipes.train.run import run_training

        given = with_flags(read_config(config) if config else {}, flags)
        with tracebacks(given, flags):
            made, settings = build(algorithm, given)
            if not settings.quiet and (sentence := remark(algorithm, given)):
                click.echo(sentence, err=True)
            path = run_training(made, settings)
        if not settings.quiet:
            click.echo(printable(path))

    command.__doc__ = f"{LANGUAGE[name].summary}.\n\n{(algorithm.__doc__ or '').splitlines()[0]}"
    for decorator in reversed(
        [flag for cls in option_types(algorithm) for flag in flags_of(cls, algorithm.learning_rate)]
    ):
        command = decorator(command)
    for key, names, help in (
        ("preset", list(algorithm.presets), "the options of a paper; flags override them"),
        ("like", libraries(name), "the options with which this is what another library computes; flags override them"),
    ):
        if names:
            command = click.option(f"--{key}", type=click.Choice(names), help=help)(command)
    command = click.option("--config", type=click.Path(), help="YAML file with the same keys; flags override it")(
        command
    )
    return click.command(name)(command)
