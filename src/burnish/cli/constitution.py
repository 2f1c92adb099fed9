"""The command for feedback and revisions by written principles."""

from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, repeated, settings_of
from burnish.cli.models import LOADING
from burnish.run import UserError, printable

FEEDBACK, SUPERVISED = "feedback", "supervised"
OWN = {
    FEEDBACK: ("judge", "judge_model", "judge_timeout", "reason", "clamp", "people", "ai_share", "max_new_tokens"),
    SUPERVISED: ("model", "server", "server_timeout", "revisions", "temperature", "max_new_tokens"),
}
"""The options of each part alone, but for those in both."""


@click.command()
@click.option(
    "--part",
    type=click.Choice([FEEDBACK, SUPERVISED]),
    default=FEEDBACK,
    show_default=True,
    help="labels for pairs of answers, or answers that are revised",
)
@repeated("--data", required=True, help="prompts with two answers each, or builtin; of supervised: prompts")
@click.option("--principles", type=click.Path(path_type=Path), required=True, help="YAML file with a list of texts")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSONL file to write")
@click.option("--budget", type=click.IntRange(min=1), help="ask the model at most so often in all")
@click.option("--budget-tokens", type=click.IntRange(min=1), help="end once a server has counted so many tokens")
@click.option("--prompts", type=click.IntRange(min=1), help="take the first so many rows")
@click.option("--judge", help="a language model, or the URL of a server that gives log-probabilities")
@click.option("--judge-model", help="the server's model; default: its only one; the key is in BURNISH_JUDGE_KEY")
@click.option("--judge-timeout", type=float, help="seconds for a server's reply  [default: 60]")
@click.option("--reason", is_flag=True, default=None, help="the judge reasons before it chooses")
@click.option(
    "--clamp",
    type=(float, float),
    metavar="LOW HIGH",
    help="bounds of a label's probability  [default: 0.4 0.6 with --reason, else 0 1]",
)
@repeated("--people", help="comparisons of people to mix in, such as labels of burnish label")
@click.option("--ai-share", type=float, help="of --people: the share of the judge's labels among all, from 0 to 1")
@click.option("--model", help="of supervised: a language model, or the name of the --server's")
@click.option("--server", help="of supervised: the URL of a server with the model; the key is in BURNISH_SERVER_TOKEN")
@click.option("--server-timeout", type=float, help="of supervised: seconds for a server's reply  [default: 60]")
@click.option(
    "--revisions", type=click.IntRange(min=1), help="of supervised: rounds of critique and revision  [default: 1]"
)
@click.option("--temperature", type=float, help="of supervised: divides the logits; 0 is the likeliest  [default: 1.0]")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    help="longest text in tokens  [default: 512; 256 for --reason]",
)
@common(*LOADING, "seed", "precision", "device", "threads", "quiet", "debug")
def constitution(part: str, data: str, principles: Path, out: Path, **flags: Any) -> None:
    """Let a model judge or revise answers by principles drawn at random from a list of yours.

    By default a judge compares two answers, as soft labels: each pair is asked about in both orders, and `burnish
    reward` and `dpo` train on the labels with the judge's confidence. With --part supervised a model answers each
    prompt, criticizes its answer and revises it, and `burnish sft` trains on the last revisions. The same command goes
    on where a killed one ended.
    """
    given = {name: flags.pop(name) for name in dict.fromkeys(name for names in OWN.values() for name in names)}
    own = {name: value for name, value in given.items() if value is not None}
    for name in own:
        if name not in OWN[part]:
            other = SUPERVISED if part == FEEDBACK else FEEDBACK
            raise UserError(f"--{name.replace('_', '-')} is for --part {other}: leave it out, or give that part")
    here = next((name for name in (*LOADING, "precision", "device", "threads") if flags[name] is not None), None)
    check_places(own | {"budget_tokens": flags["budget_tokens"]}, here)
    own |= {name: flags.pop(name) for name in ("budget", "budget_tokens", "prompts")}
    if part == SUPERVISED:
        from burnish.recipes.constitution.revising import revise

        revise(data, principles, out, **own, base=settings_of(flags))
    else:
        if "judge" not in own:
            raise UserError("--part feedback needs a --judge: a language model, or the URL of a server")
        from burnish.recipes.constitution.run import constitution as run_constitution

        run_constitution(data, principles, own.pop("judge"), out, **own, base=settings_of(flags))
    click.echo(printable(out))


def check_places(own: dict[str, Any], here: str | None) -> None:
    """Raise UserError for an option of a model in this process, the first of which is `here`, with a served one, and
    for one of a server without one."""
    from burnish.recipes.compare import is_url

    served = "server" if "server" in own else "judge" if is_url(own.get("judge")) else None
    if served is not None and here is not None:
        instead = "--server" if served == "server" else "give a judge that is no URL"
        raise UserError(f"--{here.replace('_', '-')} is for a model in this process: leave it out, or {instead}")
    if own["budget_tokens"] is not None and served is None and ("judge" in own or "model" in own):
        raise UserError(
            "--budget-tokens is for a model on a server, which counts its tokens: leave it out, or give a URL"
        )
    if "judge_timeout" in own and "judge" in own and served is None:
        raise UserError("--judge-timeout is for a judge at a URL: give --judge http://…, or leave it out")
    if "server_timeout" in own and served is None:
        raise UserError("--server-timeout is for a --server: give its URL, or leave it out")
