"""Commands for people's judgement: label pairs of answers, and how far those who label agree."""

from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, named, repeated, settings_of
from burnish.cli.models import LOADING, TEMPERATURE
from burnish.run import printable

SELECT = "which pairs first: any, or those on which reward models disagree most"


@click.command()
@click.argument("models", metavar="[A] [B]", nargs=-1)
@repeated("--data", help="prompts for the models, or data with both answers  [default: with models builtin]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSONL file to append the labels to")
@click.option("--raters", callback=named, help="names of those who label, with commas  [default: your user name]")
@click.option("--shared", type=float, default=0.2, show_default=True, help="share of pairs that all raters get")
@click.option("--repeat", type=float, default=0.1, show_default=True, help="share that a rater gets twice, at most 0.5")
@click.option(
    "--select", type=click.Choice(["random", "disagreement"]), default="random", show_default=True, help=SELECT
)
@repeated("--reward", help="finished `burnish reward` runs with commas, two or more, for --select disagreement")
@click.option("--random-share", type=float, help="share that --select disagreement leaves random  [default: 0.2]")
@click.option("--strength", "strengths", is_flag=True, help="ask how much better an answer is: it becomes the margin")
@click.option("--guideline", type=click.Path(path_type=Path), help="text file that is shown beside the pairs")
@click.option("--prompts", type=click.IntRange(min=1), help="take the first so many rows")
@click.option("--max-new-tokens", type=int, default=64, show_default=True, help="longest answer in tokens")
@click.option("--temperature", type=float, default=1.0, show_default=True, help=TEMPERATURE)
@click.option("--port", type=click.IntRange(0, 65535), default=8010, show_default=True, help="0 is any free one")
@common(*LOADING, "seed", "max_length", "precision", "device", "threads", "quiet", "debug")
def label(models: tuple[str, ...], data: str | None, out: Path, **flags: Any) -> None:
    """Label pairs of answers on a page in your browser.

    A and B are models that answer the prompts of --data; one model answers each prompt twice. Data that have both
    answers need no model. `burnish reward`, `dpo` and `kto` train on the labels as they are.
    """
    from burnish.recipes.label.run import label as run_label

    names = ["raters", "shared", "repeat", "select", "reward", "random_share", "strengths", "guideline", "prompts"]
    names += ["max_new_tokens", "temperature", "port"]
    own = {name: flags.pop(name) for name in names}
    click.echo(printable(run_label(models, data, out, **own, base=settings_of(flags))))


@click.command()
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="folder for the numbers and a page")
@common("debug")
def agreement(labels: Path, out: Path | None, **flags: Any) -> None:
    """How far those who labelled agree, in a file of `burnish label`.

    Each rater with themselves and with the others (raw, Cohen's κ, Krippendorff's α), position bias, ties, time, and
    the most that a reward model can be expected to reach.
    """
    from burnish.recipes import agreement as recipe

    recipe.print_agreement(recipe.agreement(labels, out))
    if out:
        click.echo(printable(out / recipe.PAGE))
