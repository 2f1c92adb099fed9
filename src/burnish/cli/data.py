"""Commands that look at data."""

import sys
from typing import Any

import click

from burnish.algorithms.table import LANGUAGE
from burnish.cli.flags import common, settings_of
from burnish.run import UserError, said_if_slow


@click.group("data")
def data_group() -> None:
    """Look at data before anything learns from them."""


@data_group.command("show")
@click.argument("data")
@click.option("--for", "method", type=click.Choice(list(LANGUAGE)), default=None, help="what is to learn from it")
@click.option("--model", default="builtin", show_default=True, help="whose tokenizer, as in training")
@click.option("--rows", type=click.IntRange(min=0), default=3, show_default=True, help="show so many")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=None, help="room that prompts leave, as in a run")
@common("revision", "trust_remote_code", "seed", "max_length", "holdout")
@common("mask_formatting", "last_answer_only", "train_thoughts", "debug")
def show_data(data: str, method: str | None, model: str, rows: int, max_new_tokens: int | None, **flags: Any) -> None:
    """Show what the trainer will see of DATA: rows token by token, and counts.

    DATA is 'builtin', a file, a folder, or a Hugging Face name[:split]. docs/data_formats.md has the forms it may have.
    """
    from burnish.recipes.data_show import data_show
    from burnish.recipes.train.models import loading_of
    from burnish.recipes.train.rows import holdout_of

    if flags["seed"] is not None and not flags["holdout"]:
        raise UserError("--seed only applies to --holdout here: leave it out")
    settings = settings_of(flags)
    with said_if_slow("reading and tokenising the data"):
        shown = data_show(
            data,
            method,
            model,
            settings.max_length,
            rows,
            settings.mask_formatting,
            sys.stdout.isatty(),
            max_new_tokens,
            settings.train_thoughts,
            settings.last_answer_only,
            loading_of(settings),
            holdout_of(settings, held=False),
        )
    click.echo(shown)
