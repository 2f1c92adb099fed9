"""`burnish classic`: the classical path on Gymnasium environments."""

import shlex
import sys
from typing import Any

import click

from burnish.cli.flags import flags_of, tracebacks
from burnish.config import read_config
from burnish.options import quoted
from burnish.recipes.control.settings import ClassicSettings
from burnish.run import UserError, printable

REWARDS = ("environment", "comparisons")


def classic_command() -> click.Command:
    """`burnish classic`: a configuration file's keys, overridden by flags."""

    def command(
        config: str | None,
        algorithms: str | None,
        reward: str | None,
        labels: str | None,
        env_option: tuple[str, ...],
        wrapper: tuple[str, ...],
        **flags: Any,
    ) -> None:
        """Run the classical path on a Gymnasium environment: REINFORCE to PPO, many runs of each, and a page.
        --algorithms names others too: q_learning, dqn, sac.

        Hyperparameters are given in a file: algorithms: {ppo: {clip: 0.1}}; docs/classic.md has them all. With --reward
        comparisons PPO learns from a judge's comparisons in place of rewards: docs/comparisons.md.
        """
        from burnish.recipes.control.classic import run_experiment
        from burnish.recipes.control.comparisons import comparisons_settings, run_comparisons, study_of
        from burnish.recipes.control.environment import options_of
        from burnish.recipes.control.settings import experiment

        given = (read_config(config) if config else {}) | {k: v for k, v in flags.items() if v is not None}
        if env_option:
            given["env_options"] = {**(given.get("env_options") or {}), **options_of(env_option)}
        if wrapper:
            given["wrappers"] = list(wrapper)
        if algorithms is not None:
            given["algorithms"] = narrowed(given.get("algorithms"), algorithms)
        said, written = shlex.join(["burnish", *sys.argv[1:]]), given.pop("reward", REWARDS[0])
        with tracebacks(given, flags):
            if (reward or written) not in REWARDS:
                raise UserError(f"reward must be one of {', '.join(REWARDS)}, not {quoted(written)}")
            labels = given.pop("labels", None) if labels is None else labels
            if (reward or written) == REWARDS[0]:
                if labels is not None:
                    raise UserError("labels only applies to --reward comparisons: add that, or leave labels out")
                path = run_experiment(experiment(given), said)
            else:
                path = run_comparisons(comparisons_settings(given), said, study_of(labels))
        if not given.get("quiet"):
            click.echo(printable(path / "report.html"))

    for decorator in reversed(flags_of(ClassicSettings)):
        command = decorator(command)
    help = "a wrapper of the environment, module:Class or 'module:Class(key=value)'; may be repeated, innermost first"
    command = click.option("--wrapper", multiple=True, metavar="MODULE:CLASS", help=help)(command)
    help = "an option of the environment, such as max_episode_steps=200; may be repeated"
    command = click.option("--env-option", multiple=True, metavar="KEY=VALUE", help=help)(command)
    help = "comma-separated names  [default: reinforce to ppo, the classical path]"
    command = click.option("--algorithms", help=help)(command)
    help = "comma-separated numbers of labels, for --reward comparisons  [default: the whole study]"
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


classic = classic_command()
