"""Commands that run a whole study, or make again what Burnish comes with."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, settings_of
from burnish.run import UserError, printable

quick_option = click.option(
    "--quick", is_flag=True, help="a short version that shows that everything works, not how well"
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 256), default=None, help="processes  [default: as many as cores]"
)
resume_option = click.option(
    "--resume", is_flag=True, help="go on with the study in --out: what is finished is not computed again"
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="folder")
@click.option("--runs", type=click.IntRange(1, 1000), default=1, show_default=True, help="repeat over so many seeds")
@quick_option
@click.option("--overwrite", is_flag=True, help="delete an earlier demo in --out first")
@common("seed", "resume", "precision", "device", "threads", "quiet", "debug")
def demo(out: Path, runs: int, quick: bool, overwrite: bool, **flags: Any) -> None:
    """Run the built-in study: SFT, then DPO, measured.

    A small model learns film reviews, then people's preferences; numbers with intervals and a page show what changed.
    """
    from burnish.recipes.demo.demo import FULL, QUICK
    from burnish.recipes.demo.demo import demo as run_demo

    command = shlex.join(["burnish", *sys.argv[1:]])
    run_demo(out, settings_of(flags), runs, QUICK if quick else FULL, overwrite, command)
    click.echo(printable(out / "report.html"))


@click.group()
def study() -> None:
    """Compare methods over seeds, with intervals."""


def run(of: Callable[..., object], plan: Any, out: Path, jobs: int | None, resume: bool, flags: dict[str, Any]) -> None:
    """Run a study by its plan, and print where its page is."""
    of(out, plan, jobs, resume, settings_of(flags).quiet, shlex.join(["burnish", *sys.argv[1:]]))
    click.echo(printable(out / "report.html"))


@study.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/checked"), show_default=True, help="folder")
@quick_option
@click.option("--tasks", default=None, help="comma-separated names  [default: all five; with --quick reverse]")
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="seeds per task  [default: 5; with --quick 2]")
@jobs_option
@resume_option
@common("quiet", "debug")
def checked(
    out: Path, quick: bool, tasks: str | None, seeds: int | None, jobs: int | None, resume: bool, **flags: Any
) -> None:
    """Compare nine methods on answers that can be checked.

    A small model is taught a task until it is sometimes right, and goes on by each method with the same number of
    samples: accuracy and pass@k before and after, with intervals, and a page. docs/study_checked.md describes it.
    """
    from burnish.recipes.study.checked.plan import plan_for
    from burnish.recipes.study.checked.study import checked_study

    run(checked_study, plan_for(quick, tasks, seeds), out, jobs, resume, flags)


@study.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/frontier"), show_default=True, help="folder")
@quick_option
@click.option("--full", is_flag=True, help="every setting of every method, for more updates")
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="seeds  [default: 3; with --quick 2]")
@jobs_option
@resume_option
@common("quiet", "debug")
def frontier(
    out: Path, quick: bool, full: bool, seeds: int | None, jobs: int | None, resume: bool, **flags: Any
) -> None:
    """Compare methods by the reward that they get for their KL.

    DPO and its relatives, PPO, methods without a critic and the best of n learn from the same labelled pairs and the
    same start: the gold judge's score against the KL divergence from the start, with intervals, and a page.
    docs/study_frontier.md describes it.
    """
    from burnish.recipes.study.frontier.plan import plan_for
    from burnish.recipes.study.frontier.study import frontier_study

    if quick and full:
        raise UserError("--quick and --full exclude each other: give one of them, or none for the reduced grid")
    run(frontier_study, plan_for(quick, full, seeds), out, jobs, resume, flags)


@study.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/overoptimise"), show_default=True, help="folder"
)
@quick_option
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="seeds  [default: 3; with --quick 2]")
@jobs_option
@resume_option
@common("quiet", "debug")
def overoptimise(out: Path, quick: bool, seeds: int | None, jobs: int | None, resume: bool, **flags: Any) -> None:
    """Push reward models further than they are right.

    The best of n and PPO without a KL penalty optimise reward models of 250, 1,000 and 4,000 labels: the gold judge's
    score and what the reward model claims against the distance from the start, with fits and intervals, and a page.
    docs/study_overoptimise.md describes it.
    """
    from burnish.recipes.study.overoptimise.plan import plan_for
    from burnish.recipes.study.overoptimise.study import overoptimise_study

    run(overoptimise_study, plan_for(quick, seeds), out, jobs, resume, flags)


@study.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/selection"), show_default=True, help="folder"
)
@quick_option
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="seeds  [default: 5; with --quick 2]")
@jobs_option
@resume_option
@common("quiet", "debug")
def selection(out: Path, quick: bool, seeds: int | None, jobs: int | None, resume: bool, **flags: Any) -> None:
    """Compare random pairs to label with those on which reward models disagree.

    The built-in human comparisons are replayed in each order: held-out accuracy of an ensemble of reward models
    against the number of labels, with intervals, and a page. docs/study_selection.md describes it.
    """
    from burnish.recipes.study.selection.plan import plan_for
    from burnish.recipes.study.selection.study import selection_study

    run(selection_study, plan_for(quick, seeds), out, jobs, resume, flags)


@study.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/shares"), show_default=True, help="folder")
@quick_option
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="seeds  [default: 3; with --quick 2]")
@click.option("--judge", default=None, help="the language model that labels  [default: smollm2]")
@jobs_option
@resume_option
@common("quiet", "debug")
def shares(
    out: Path, quick: bool, seeds: int | None, judge: str | None, jobs: int | None, resume: bool, **flags: Any
) -> None:
    """Compare labels of people with those of a judge at the same cost.

    Of the labels 0, 25, 50 and 100 % are a language model's, which cost a tenth of people's: held-out accuracy of an
    ensemble of reward models, with intervals, and a page. docs/study_shares.md describes it.
    """
    from burnish.recipes.study.shares.plan import plan_for
    from burnish.recipes.study.shares.study import shares_study

    run(shares_study, plan_for(quick, seeds, judge), out, jobs, resume, flags)


@study.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/onoff"), show_default=True, help="folder")
@quick_option
@click.option(
    "--runs",
    type=click.IntRange(1, 100),
    default=None,
    help="runs of each setting, of language models at most 5  [default: 10 and 5; with --quick 2]",
)
@jobs_option
@resume_option
@common("quiet", "debug")
def onoff(out: Path, quick: bool, runs: int | None, jobs: int | None, resume: bool, **flags: Any) -> None:
    """Compare learning on-policy with learning from old data.

    DQN and SAC beside PPO, in environment steps and in time; PPO and RLOO on data that is some turns old, with and
    without importance weights; and how unequal these weights are by the number of actions in an episode: with
    intervals, and a page. docs/study_onoff.md describes it.
    """
    from burnish.recipes.study.onoff.plan import plan_for
    from burnish.recipes.study.onoff.study import onoff_study

    run(onoff_study, plan_for(quick, runs), out, jobs, resume, flags)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder to write")
@click.option("--texts", type=click.IntRange(min=1), default=65_536, show_default=True, help="how many, of 80 words")
@common("seed", "threads", "quiet", "debug")
def write(out: Path, texts: int, **flags: Any) -> None:
    """Let smollm2 write reviews of films that do not exist, and other short texts (a night).

    `burnish pretrain --text OUT` trains on them. A killed run goes on where it was when the command is given again;
    several processes may write into one folder.
    """
    from burnish.recipes.writing.write import Writing
    from burnish.recipes.writing.write import write as run_write

    click.echo(printable(run_write(out, texts, Writing(), settings_of(flags))))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder to write")
@click.option(
    "--text",
    type=click.Path(path_type=Path),
    default=None,
    help="folder of burnish write: its complete shards are read beside the written text that comes with Burnish",
)
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    default=6.0,
    show_default=True,
    help="passes over the text, in which film reviews are three times",
)
@click.option(
    "--first",
    type=click.Path(path_type=Path),
    default=None,
    help="folder of a finished pretraining, whose weights to start from, with any other vocabulary  [default: random]",
)
@click.option(
    "--vocabulary", type=click.IntRange(min=300), default=8192, show_default=True, help="ids of the tokenizer to train"
)
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), default=1e-3, show_default=True, help="at its peak"
)
@click.option(
    "--dropout", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="share left out in training"
)
@click.option(
    "--spelling",
    type=click.IntRange(min=1),
    default=None,
    help="updates in which the pretraining of --first learns which words exist, in place of training on the text",
)
@common("seed", "threads", "quiet", "debug")
def pretrain(out: Path, text: Path | None, first: Path | None, **flags: Any) -> None:
    """Train the embedded model again (hours).

    Tokenizer, weights and what is measured of them. A killed run goes on where it was when the command is given again,
    with the text that it began with.
    """
    from burnish.recipes.pretrain import Recipe
    from burnish.recipes.pretrain import pretrain as run_pretrain

    if flags["spelling"] is not None and first is None:
        raise UserError("--spelling teaches a finished pretraining: give its folder as --first")
    names = ("epochs", "vocabulary", "learning_rate", "dropout", "spelling")
    recipe = Recipe(**{name: flags.pop(name) for name in names})
    click.echo(printable(run_pretrain(out, recipe, settings_of(flags), text, first)))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=None, help="JSON file to write all the numbers to")
@common("quiet", "debug")
def judge(out: Path | None, **flags: Any) -> None:
    """Measure the built-in data and its gold judge again: the numbers of docs/data.md. Takes half a minute."""
    from burnish.recipes.judge import judge as run_judge

    run_judge(out, settings_of(flags).quiet)
