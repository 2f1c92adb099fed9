"""Commands that run a whole study, or make again what Burnish comes with."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, flags_of, settings_of, tracebacks
from burnish.config import read_config
from burnish.run import UserError


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="folder")
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="repeat over so many seeds")
@click.option("--quick", is_flag=True, help="a short version that shows that everything works, not how well")
@click.option("--overwrite", is_flag=True, help="delete an earlier demo in --out first")
@common("seed", "resume", "device", "threads", "quiet", "debug")
def demo(out: Path, runs: int, quick: bool, overwrite: bool, **flags: Any) -> None:
    """Run the built-in study: SFT, then DPO, measured.

    A small model learns film reviews, then people's preferences; numbers with intervals and a page show what changed.
    """
    from burnish.recipes.demo.demo import FULL, QUICK
    from burnish.recipes.demo.demo import demo as run_demo

    command = shlex.join(["burnish", *sys.argv[1:]])
    run_demo(out, settings_of(flags), runs, QUICK if quick else FULL, overwrite, command)
    click.echo(out / "report.html")


REWARDS = ("environment", "comparisons")


def classic_command() -> click.Command:
    """`burnish classic`: a configuration file's keys, overridden by flags."""
    from burnish.recipes.control.settings import ClassicSettings, experiment

    def command(
        config: str | None, algorithms: str | None, reward: str | None, labels: str | None, **flags: Any
    ) -> None:
        """Run the classical path on a Gymnasium environment: REINFORCE to PPO, many runs of each, and a page.

        Hyperparameters are given in a file: algorithms: {ppo: {clip: 0.1}}; docs/classic.md has them all. With --reward
        comparisons PPO learns from a judge's comparisons in place of rewards: docs/comparisons.md.
        """
        from burnish.recipes.control.classic import run_experiment
        from burnish.recipes.control.comparisons import comparisons_settings, run_comparisons, study_of

        given = (read_config(config) if config else {}) | {k: v for k, v in flags.items() if v is not None}
        if algorithms is not None:
            given["algorithms"] = narrowed(given.get("algorithms"), algorithms)
        said, written = shlex.join(["burnish", *sys.argv[1:]]), given.pop("reward", REWARDS[0])
        with tracebacks(given, flags):
            if (reward or written) not in REWARDS:
                raise UserError(f"reward must be one of {', '.join(REWARDS)}, not {written!r}")
            labels = given.pop("labels", None) if labels is None else labels
            if (reward or written) == REWARDS[0]:
                if labels is not None:
                    raise UserError("labels are of --reward comparisons: give that, or leave them out")
                path = run_experiment(experiment(given), said)
            else:
                path = run_comparisons(comparisons_settings(given), said, study_of(labels))
        if not given.get("quiet"):
            click.echo(path / "report.html")

    for decorator in reversed(flags_of(ClassicSettings)):
        command = decorator(command)
    help = "names with commas between  [default: all]"
    command = click.option("--algorithms", help=help)(command)
    help = "numbers of labels with commas between, of --reward comparisons  [default: the whole study]"
    command = click.option("--labels", help=help)(command)
    help = f"what the policy learns from  [default: {REWARDS[0]}]"
    command = click.option("--reward", type=click.Choice(REWARDS), default=None, help=help)(command)
    command = click.option("--config", type=click.Path(), help="YAML file of the same keys; flags win")(command)
    return click.command("classic")(command)


def narrowed(given: Any, names: str) -> Any:
    """The algorithms that a flag names, with what a file says of them."""
    own = given if isinstance(given, dict) else {}
    own = {str(name).replace("-", "_"): value for name, value in own.items()}
    asked = [name.strip().replace("-", "_") for name in names.split(",") if name.strip()]
    return {name: own.get(name) for name in asked}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder to write")
@common("seed", "threads", "quiet", "debug")
def pretrain(out: Path, **flags: Any) -> None:
    """Train the embedded model again (an hour).

    Tokenizer, weights and what is measured of them. A killed run goes on where it was when the command is given again.
    """
    from burnish.recipes.pretrain import Recipe
    from burnish.recipes.pretrain import pretrain as run_pretrain

    click.echo(run_pretrain(out, Recipe(), settings_of(flags)))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=None, help="JSON file to write all the numbers to")
@common("quiet", "debug")
def judge(out: Path | None, **flags: Any) -> None:
    """Measure the built-in data and its gold judge again: the numbers of docs/data.md. Takes half a minute."""
    from burnish.recipes.judge import judge as run_judge

    run_judge(out, settings_of(flags).quiet)
