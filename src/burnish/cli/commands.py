"""The commands: where each is, and its line in `burnish --help`. Nothing is imported until a command is used."""

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
    "classic": Place("classic", "classic", "Run REINFORCE to PPO on a Gymnasium environment"),
    "evaluate": Place("models", "evaluate", "Evaluate a finished run on held-out data"),
    "sample": Place("models", "sample", "Sample completions of prompts, or the best of n"),
    "compare": Place("models", "compare", "Compare two models on the same prompts with a judge"),
    "chat": Place("models", "chat", "Chat with a model in the terminal"),
    "rewardbench": Place("models", "rewardbench", "Score a model on data in RewardBench's format"),
    "merge": Place("models", "merge", "Merge a LoRA adapter into its base model"),
    "report": Place("models", "report", "Draw one or more runs in one page"),
    "data": Place("data", "data_group", "Look at data before training on it"),
    "pretrain": Place("studies", "pretrain", "Train the embedded model again (an hour)"),
    "judge": Place("studies", "judge", "Measure the built-in data and its gold judge again"),
}


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, places in (("Methods", METHODS), ("Commands", OTHERS)):
            with formatter.section(title):
                formatter.write_dl([(name, place.summary) for name, place in places.items()])
