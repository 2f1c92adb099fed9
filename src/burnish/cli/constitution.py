"""The command for feedback by written principles."""

from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, repeated, settings_of
from burnish.cli.models import LOADING
from burnish.run import printable


@click.command()
@repeated("--data", required=True, help="prompts with two answers each")
@click.option("--principles", type=click.Path(path_type=Path), required=True, help="YAML file with a list of texts")
@click.option("--judge", required=True, help="a language model, or the URL of a server that gives log-probabilities")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSONL file to write the labels to")
@click.option("--budget", type=click.IntRange(min=1), help="ask the judge at most so often in all; a pair needs two")
@click.option("--prompts", type=click.IntRange(min=1), help="take the first so many rows")
@click.option("--judge-model", help="the server's model; default: its only one")
@click.option("--judge-timeout", type=float, default=60.0, show_default=True, help="seconds for a server's reply")
@common(*LOADING, "seed", "precision", "device", "threads", "quiet", "debug")
def constitution(data: str, principles: Path, judge: str, out: Path, **flags: Any) -> None:
    """Let a judge compare two answers by a principle drawn at random, as soft labels.

    Each pair is asked about in both orders. `burnish reward` and `dpo` train on the labels with the judge's confidence.
    The same command goes on where a killed one ended.
    """
    from burnish.recipes.constitution.run import constitution as run_constitution

    own = {name: flags.pop(name) for name in ("budget", "prompts", "judge_model", "judge_timeout")}
    run_constitution(data, principles, judge, out, **own, base=settings_of(flags))
    click.echo(printable(out))
