"""The commands: where each is, and its line in `burnish --help`. Nothing is imported until a command is used."""

import difflib
from dataclasses import dataclass
from importlib import import_module

import click

from burnish.algorithms.table import LANGUAGE


@dataclass(frozen=True)
class Place:
    """A command's module in this folder, the name of the command there, and one line about it."""

    module: str
    attribute: str
    summary: str


METHODS = {name: Place("methods", name, entry.summary) for name, entry in LANGUAGE.items()}
OTHERS = {
    "demo": Place("studies", "demo", "Run the built-in study: SFT, DPO, a reward model, PPO"),
    "study": Place("studies", "study", "Compare methods over tasks and seeds"),
    "classic": Place("classic", "classic", "Run REINFORCE to PPO on a Gymnasium environment"),
    "play": Place("play", "play", "Watch a trained policy of `burnish classic`"),
    "evaluate": Place("models", "evaluate", "Evaluate a finished run on held-out data"),
    "sample": Place("models", "sample", "Sample completions of prompts, or the best of n"),
    "compare": Place("models", "compare", "Compare two models on the same prompts with a judge"),
    "chat": Place("models", "chat", "Chat with a model in the terminal"),
    "serve": Place("serve", "serve", "Serve a model in OpenAI's protocol"),
    "label": Place("label", "label", "Compare answers on a page, as data for training"),
    "agreement": Place("label", "agreement", "Measure how far those who labelled agree"),
    "constitution": Place("constitution", "constitution", "Let a model judge or revise answers by written principles"),
    "rewardbench": Place("models", "rewardbench", "Score a model on data in RewardBench's format"),
    "launch": Place("launch", "launch", "Run a command in several processes"),
    "merge": Place("models", "merge", "Merge a LoRA adapter into its base model"),
    "report": Place("models", "report", "Draw one or more runs in one page"),
    "data": Place("data", "data_group", "Look at data before training on it"),
    "write": Place("studies", "write", "Write training text with smollm2 (a night)"),
    "pretrain": Place("studies", "pretrain", "Train the embedded model again (hours)"),
    "judge": Place("studies", "judge", "Measure the built-in data and its gold judge again"),
}


DIVIDED = {*METHODS, "evaluate", "sample", "rewardbench", "pretrain"}
"""The commands that several processes can share."""


class Commands(click.Group):
    """A group whose commands are imported when they are used; their names may be written with hyphens."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*METHODS, *OTHERS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name.replace("-", "_")
        if name in METHODS:
            return import_module("burnish.cli.methods").method_command(name)
        if name in OTHERS:
            return getattr(import_module(f"burnish.cli.{OTHERS[name].module}"), OTHERS[name].attribute)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0].replace("-", "_"), self.list_commands(ctx), n=1, cutoff=0.8)
            ctx.fail(f"No such command '{args[0]}'" + (f": did you mean '{near[0]}'?" if near else "."))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, places in (("Methods", METHODS), ("Commands", OTHERS)):
            with formatter.section(title):
                formatter.write_dl([(name, place.summary) for name, place in places.items()])
